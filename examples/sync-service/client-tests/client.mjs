// Electric's client, as an application uses it.

import { Shape, ShapeStream } from '@electric-sql/client'

const asText = (value) => value
/** Values stay the texts of PostgreSQL, to compare them with those of a query. */
const PARSER = Object.fromEntries(['int2', 'int4', 'int8', 'bool', 'float4', 'float8', 'json', 'jsonb'].map((type) => [type, asText]))

export class Client {
  /** `send` sends a request with this query to the service, as a load balancer does. */
  constructor({ send, params, liveSse = false, resume }) {
    Object.assign(this, { send, params, liveSse, requests: 0, refetches: 0, aborter: new AbortController() })
    this.stream = new ShapeStream({
      url: 'http://service/v1/shape',
      params,
      liveSse,
      parser: PARSER,
      signal: this.aborter.signal,
      fetchClient: (url, init) => this.fetch(url, init),
      backoffOptions: { initialDelay: 20, maxDelay: 1000, multiplier: 2 },
      ...resume,
    })
    this.shape = new Shape(this.stream)
  }

  async fetch(url, init) {
    this.requests += 1
    const { search } = new URL(url)
    const response = await this.send(search, init)
    if (response.status === 409) this.refetches += 1
    if (response.status >= 400 && response.status < 500 && response.status !== 409) {
      this.refused = `${response.status} ${await response.clone().text()}`
    }
    return response
  }

  stop() {
    this.aborter.abort()
    this.stream.unsubscribeAll()
  }
}

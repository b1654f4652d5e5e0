// Two nodes over metadata in PostgreSQL, with a supervisor and a load balancer.

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export class Nodes {
  /** `route` sends requests to a node, and closes the connections to the one before. */
  constructor(nodes, route) {
    Object.assign(this, { nodes, route, current: nodes[0], isOver: false })
  }

  async start() {
    for (const node of this.nodes) await node.start(['active', 'waiting'])
    this.watching = this.watch()
  }

  /** Routes to the active node, and starts a node that has ended, unless it is `held`. */
  async watch() {
    for (; !this.isOver; await pause(200)) {
      for (const node of this.nodes.filter((node) => !node.isRunning && !node.held)) node.spawn()
      const active = await Promise.all(this.nodes.map(async (node) => (await node.status(1000)) === 'active'))
      const next = this.nodes.find((_, at) => active[at])
      if (next && !active[this.nodes.indexOf(this.current)]) {
        this.current = next
        await this.route(next)
      }
    }
  }

  get other() {
    return this.nodes.find((node) => node !== this.current)
  }

  /** Waits until requests are routed to this node, or to any active one. */
  async active(node) {
    for (let attempt = 0; (node && this.current !== node) || (await this.current.status(1000)) !== 'active'; attempt++) {
      if (attempt > 600) throw new Error('no node becomes active')
      await pause(100)
    }
  }

  async end(signal) {
    this.isOver = true
    await this.watching
    await Promise.all(this.nodes.filter((node) => node.isRunning).map((node) => node.kill(signal)))
  }
}

/** What goes wrong with two nodes. Each returns when one of them serves again. */
export const NODE_TROUBLES = {
  async killNode({ nodes, random }) {
    const [node, next] = [nodes.current, nodes.other]
    node.held = true
    await node.kill(random.pick(['SIGKILL', 'SIGKILL', 'SIGTERM']))
    await nodes.active(next)
    await pause(random.below(500))
    node.held = false
  },

  /** A node hangs until another one has taken over, and then goes on. It has to end by itself. */
  async stopNode({ nodes, random }) {
    const [node, next] = [nodes.current, nodes.other]
    node.held = true
    const { ended } = node
    node.process.kill('SIGSTOP')
    await nodes.active(next)
    await pause(random.below(500))
    node.process.kill('SIGCONT')
    const { code } = await Promise.race([ended, pause(30_000).then(() => ({ code: 'nothing' }))])
    if (code !== 0) throw new Error(`a node that was fenced ended with ${code}`)
    node.held = false
  },

  /** A node hangs for less than its lease. */
  async pauseNode({ nodes, random }) {
    const node = nodes.current
    node.process.kill('SIGSTOP')
    await pause(random.below(1200))
    node.process.kill('SIGCONT')
    await nodes.active()
  },

  async killStandby({ nodes, random }) {
    const node = nodes.other
    if (node.isRunning) await node.kill('SIGKILL')
    await pause(random.below(1000))
  },

  async killBoth({ nodes }) {
    await Promise.all(nodes.nodes.filter((node) => node.isRunning).map((node) => node.kill('SIGKILL')))
    await nodes.active()
  },

  async postgresOfNodes({ nodes, cluster, random }) {
    await cluster.restart(random.pick(['SIGINT', 'SIGQUIT']))
    await nodes.active()
  },
}

// A redeploy from the clients' side, as a picture.

const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [640, 320, 60, 40, 620, 270]
const COLORS = ['#2f6fde', '#c2571a']

/** Returns an SVG of how many clients have their rows, by time, for each run: its name and sorted milliseconds. */
export function picture(runs) {
  const end = Math.max(...runs.map(({ synced }) => synced.at(-1)))
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].find((step) => end / 1000 / step <= 8) ?? 50
  const last = Math.ceil(end / 1000 / step) * step
  const count = runs[0].synced.length
  const x = (seconds) => (LEFT + (seconds / last) * (RIGHT - LEFT)).toFixed(1)
  const y = (part) => (BOTTOM - part * (BOTTOM - TOP)).toFixed(1)
  const text = (at, down, anchor, text) => `<text x="${at}" y="${down}" text-anchor="${anchor}">${text}</text>`
  const grid = Array.from({ length: Math.round(last / step) + 1 }, (_, n) => n * step).flatMap((seconds) => [
    `<path class="grid" d="M${x(seconds)} ${TOP}V${BOTTOM}"/>`,
    text(x(seconds), BOTTOM + 18, 'middle', Number(seconds.toFixed(2))),
  ])
  const levels = [0, 0.25, 0.5, 0.75, 1].flatMap((part) => [
    `<path class="grid" d="M${LEFT} ${y(part)}H${RIGHT}"/>`,
    text(LEFT - 8, Number(y(part)) + 4, 'end', Math.round(part * count)),
  ])
  const lines = runs.flatMap(({ name, synced }, number) => {
    const points = synced.filter((_, at) => at % 10 === 0 || at === synced.length - 1)
    const path = points.map((ms, at) => `${x(ms / 1000)} ${y(Math.min(1, (at * 10 + 1) / count))}`)
    const style = `stroke="${COLORS[number]}"${number ? ' stroke-dasharray="6 3"' : ''}`
    return [
      `<path class="line" ${style} d="M${x(0)} ${y(0)}L${path.join('L')}"/>`,
      `<path class="line" ${style} d="M${LEFT + 170 * number} 20h28"/>`,
      text(LEFT + 170 * number + 36, 24, 'start', name),
    ]
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Clients that have their rows, by seconds after a deploy">
<style>
  text { font: 12px sans-serif; fill: #444 } .grid { stroke: #8884; fill: none } .line { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) { text { fill: #bbb } }
</style>
${text(RIGHT, 24, 'end', 'clients that have their rows')}
${[...grid, ...levels, ...lines].join('\n')}
${text((LEFT + RIGHT) / 2, HEIGHT - 10, 'middle', 'seconds after the new process was started')}
</svg>
`
}

/** Runs the load against a server in memory, for tests of nouns. */
import { parsed } from '../../src/cli/load/answer-body.ts'
import type { Tick } from '../../src/cli/load/figures.ts'
import type { FindMoves } from '../../src/cli/load/leases.ts'
import type { LoadNoun } from '../../src/cli/load/noun.ts'
import { type LoadOptions, runLoad } from '../../src/cli/load/run.ts'
import { answered, type Faults, MisbehavingServer, type Route, type Sent } from './misbehaving-server.ts'
import { VirtualTime } from './virtual-time.ts'

/** A noun that only signs users up. The server identifies them by name. */
const visitors: LoadNoun = () => ({
  async signUp({ name, client }) {
    const ended = await client.request('POST', '/visitors', { json: { name }, key: name })
    client.token = parsed<{ token: string }>(ended.body).token ?? null
    return ended
  },
})

const visitorRoute: Route = ({ path, json }) => (path === '/visitors' ? answered(201, { token: json.name }) : null)

export interface Setting extends Omit<Partial<LoadOptions>, 'findMoves'> {
  /** The server's routes besides sign-ups. */
  routes: Route[]
  faults?: Faults
  time?: VirtualTime
  /** Null if no source of moves is available. */
  findMoves?: FindMoves | null
}

/** By default ten seconds of load at 20 requests per second, half of them writes, while nothing moves. */
export async function runOn(setting: Setting) {
  const { routes, faults = {}, time = new VirtualTime(), findMoves = async () => [], nouns = [], ...options } = setting
  const server = new MisbehavingServer(time, [visitorRoute, ...routes], faults)
  const ticks: Tick[] = []
  const report = await time.until(
    runLoad({
      url: 'http://localhost',
      ...(findMoves ? { findMoves } : {}),
      rate: 20,
      durationMs: 10_000,
      users: 4,
      reads: 0.5,
      seed: 1,
      run: 'load_test',
      fetch: server.fetch,
      clock: time,
      onTick: (tick) => ticks.push(tick),
      nouns: [visitors, ...nouns],
      ...options,
    }),
  )
  return { report, server, ticks, seconds: time.now() / 1_000 }
}

/** True for every try of the n-th request of this kind. */
export function nth(n: number, method: string, path: RegExp): (sent: Sent) => boolean {
  let count = 0
  let chosen = ''
  return (sent) => {
    if (sent.method !== method || !path.test(sent.path)) return false
    const one = JSON.stringify(sent.json)
    if (sent.before === 0 && ++count === n) chosen = one
    return one === chosen
  }
}

/** True for the first try of each of these requests. */
export const once = (is: (sent: Sent) => boolean) => (sent: Sent) => is(sent) && sent.before === 0

/** A report without any fault. */
export const whole = { lost: 0, doubled: 0, unexpected: 0, unread: 0 }

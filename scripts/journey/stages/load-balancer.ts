import { setTimeout as sleep } from 'node:timers/promises'
import { table } from '../../../src/cli/shell/table.ts'
import { present } from '../../../src/core/present.ts'
import { Balancer, usualTimes } from '../../cluster/balancer.ts'
import type { Failure, Instance } from '../../cluster/instance.ts'
import { steadyLoad } from '../../cluster/steady-load.ts'
import { answerOf, type Person } from '../load.ts'
import { type Stage, uncached } from '../stage.ts'

const RATE = 60
const REQUESTS = 180
const LOST_WEB = 1
// Longer than the balancer takes to notice that a server does not answer.
const CLIENT_MS = 5_000
const PAUSE_MS = 1_000
const READY_MS = 30_000

const failures: [Failure, string][] = [
  ['crash', 'one refuses connections'],
  ['freeze', 'one accepts them and answers none'],
]

interface Counts {
  failed: number
  /** Failed again when they were retried once. */
  failedTwice: number
}

/** Sends a request. Without a balancer, each client knows the address of one web server. */
type Send = (number: number, path: string, init: RequestInit) => Promise<Response>

export const loadBalancer: Stage = {
  number: 3,
  title: 'A load balancer and several web servers',
  adds: 'a web server may fail and others may join, and no client notices',
  setting: 'npm run dev:cluster',
  options: { shards: 1, webs: 3, vars: uncached },
  async show(cluster, _, people, expect) {
    const lost = cluster.instance(LOST_WEB)
    const direct: Send = (number, path, init) => answerOf(cluster.fetch(number % 3, path, init))
    const alone: Counts[] = []
    for (const [failure] of failures)
      alone.push(await whileFailing(lost, failure, () => run(`${failure} alone`, people, direct)))

    const events: string[] = []
    const balancer = new Balancer({ ...usualTimes, onChange: (name, change) => events.push(`${name} ${change}`) })
    for (const instance of cluster.instances) balancer.add(instance)
    const origin = `http://127.0.0.1:${await balancer.listen(0)}`
    const balanced: Send = (_, path, init) => answerOf(fetch(origin + path, init))
    try {
      await balancer.ready(READY_MS)
      events.length = 0
      const well = await run('well', people, balanced)
      const shares = balancer.status().map(({ name, requests }) => `${name} ${requests}`)
      expect(well.failed === 0, 'while all web servers are well, no request fails')
      const behind: Counts[] = []
      for (const [failure] of failures) {
        behind.push(await whileFailing(lost, failure, () => run(`${failure} behind`, people, balanced)))
        await balancer.ready(READY_MS)
      }
      for (const [index, [failure]] of failures.entries()) {
        const [a, b] = [present(alone[index], failure), present(behind[index], failure)]
        expect(a.failed === REQUESTS / 3, 'without a balancer, all requests of a third of the clients fail')
        expect(b.failed < a.failed / 2, 'with a balancer, few requests fail')
        expect(b.failedTwice === 0, 'with a balancer, no request fails again when it is retried')
      }
      expect(
        events.join() === failures.flatMap(() => [`${lost.name} out`, `${lost.name} back`]).join(),
        'the balancer takes the failed server out of the rotation, and puts it back when it is well',
      )
      const rows = failures.map(([, what], index) => [
        what,
        ...[alone[index]?.failed, behind[index]?.failed, behind[index]?.failedTwice].map((n) => `${n} of ${REQUESTS}`),
      ])
      return [
        ...table(['failed requests, three web servers', 'no balancer', 'balancer', 'after one retry'], rows, 1).split(
          '\n',
        ),
        `all are well: ${well.failed} of ${REQUESTS} failed; ${shares.join(', ')}`,
        `the balancer reports: ${events.join(', ')}`,
      ]
    } finally {
      await balancer.close()
    }
  },
}

async function whileFailing<T>(instance: Instance, failure: Failure, load: () => Promise<T>): Promise<T> {
  instance.fail(failure)
  try {
    return await load()
  } finally {
    await instance.start()
  }
}

/** Every fourth request writes a post. Counts requests that fail, and those that fail again when they are retried. */
async function run(name: string, people: Person[], send: Send): Promise<Counts> {
  const counts = { failed: 0, failedTwice: 0 }
  await steadyLoad({
    rate: RATE,
    count: REQUESTS,
    inFlightMax: REQUESTS,
    async request(number) {
      const person = present(people[number % people.length], 'a person')
      const isWrite = number % 4 === 0
      const path = isWrite ? '/api/v1/posts' : `/api/v1/posts/${person.posts[0]}`
      const init = () => ({
        ...(isWrite ? writeOf(person, `${name} ${number}`) : {}),
        signal: AbortSignal.timeout(CLIENT_MS),
      })
      if ((await send(number, path, init())).ok) return
      counts.failed++
      await sleep(PAUSE_MS)
      if (!(await send(number, path, init())).ok) counts.failedTwice++
    },
  })
  return counts
}

const writeOf = ({ token }: Person, text: string): RequestInit => ({
  method: 'POST',
  headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': text },
  body: JSON.stringify({ text }),
})

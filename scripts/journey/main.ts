/**
 * `npm run journey [-- --stage N]`: runs the same code through the guide's implemented stages, and prints for each what
 * it adds: calls per request, p99, what fails and what does not. Exits 1 if a stage does not behave as described.
 */
import '../cluster/quiet.ts'
import '../../src/cli/wrangler/local-environment.ts'
import { table } from '../../src/cli/shell/table.ts'
import { readOptions } from '../options.ts'
import { Load, type Person, summaryHead } from './load.ts'
import { type Stack, type StackOptions, startStack } from './stack.ts'

interface Stage {
  number: number
  title: string
  adds: string
  setting: string
  options: StackOptions
  /** Shows what fails and what does not. Returns lines to print; throws if the stage does not behave as described. */
  show(stack: Stack, load: Load, people: Person[]): Promise<string[]>
}

const PEOPLE = 8
const READS = 60

const stages: Stage[] = [
  {
    number: 1,
    title: 'One server for everything',
    adds: 'the whole application; no redundancy, a fixed ceiling',
    setting: 'npm run dev -- --shards 1, JOBS=inline',
    options: { shards: 1, webs: 1, vars: { JOBS: 'inline' } },
    async show(stack, load, people) {
      await stack.breakDown(0, 'WEB')
      const down = await readAll(load, people)
      await stack.breakDown(0, '')
      const back = await readAll(load, people)
      expect(down.failed === down.asked, 'without its one server, every request fails')
      expect(back.failed === 0, 'after the restart, all data is there')
      return [
        `server stopped: ${down.failed} of ${down.asked} requests failed`,
        `server restarted: ${back.failed} of ${back.asked} failed; no data was lost`,
      ]
    },
  },
  {
    number: 2,
    title: 'Web and database on separate servers',
    adds: 'each fails, restarts and scales independently; each store suits its data',
    setting: 'Worker ≠ D1; KV for sessions, R2 for files, a queue for deferred work',
    options: { shards: 1, webs: 1, vars: {} },
    async show(stack, load, people) {
      await stack.breakDown(0, 'SHARD_000')
      const down = await readAll(load, people)
      const alive = await load.send('healthz', '/healthz')
      const ready = await load.send('readyz', '/readyz')
      await stack.breakDown(0, '')
      const back = await readAll(load, people)
      expect(
        down.failed === down.asked && down.retryAfter === down.asked,
        'without the database, reads answer 503 with Retry-After',
      )
      expect(alive.status === 200 && ready.status === 503, 'the web tier stays up and reports that it is not ready')
      expect(back.failed === 0, 'after the database is restored, all data is there')
      return [
        `database unavailable: ${down.failed} of ${down.asked} reads answered 503, each with Retry-After; /healthz ${alive.status}, /readyz ${ready.status}`,
        `database restored: ${back.failed} of ${back.asked} failed`,
      ]
    },
  },
  {
    number: 7,
    title: 'A stateless web tier',
    adds: 'any web worker serves any request; sessions live in KV and in the user’s shard',
    setting: 'two web workers on the same stores',
    options: { shards: 2, webs: 2, vars: {} },
    async show(stack, load, people) {
      const shared = await everyoneReadsSelf(load, people)
      await stack.breakDown(0, 'WEB')
      const one = await everyoneReadsSelf(load, people, 1)
      await stack.breakDown(0, '')
      await stack.breakDown(1, 'KV')
      const kvAway = await everyoneReadsSelf(load, people, 1)
      await stack.breakDown(1, '')
      expect(shared.failed === 0, 'a session created on one web worker is valid on the other')
      expect(one.failed === 0, 'with one web worker removed from the balancer, no request fails')
      expect(kvAway.failed === 0, 'without KV, sessions are read from the shard')
      return [
        `sessions created on web 1, used on both: ${shared.failed} of ${shared.asked} failed`,
        `web 1 removed from the balancer: ${one.failed} of ${one.asked} failed on web 2; no user had to log in again`,
        `KV unavailable: ${kvAway.failed} of ${kvAway.asked} failed; the shard answered instead`,
      ]
    },
  },
  {
    number: 9,
    title: 'Sharding',
    adds: 'storage and write rate grow with the number of databases; a failed database affects only its share of the users',
    setting: 'npm run dev -- --shards 4',
    options: { shards: 4, webs: 1, vars: {} },
    async show(stack, load, people) {
      const place = (id: string) => Math.floor((Number.parseInt(id.slice(0, 4), 16) * 4) / 65_536)
      const spread = [0, 1, 2, 3].map((shard) => people.filter(({ id }) => place(id) === shard).length)
      const lost = people.filter(({ id }) => place(id) === 3)
      const others = people.filter((person) => !lost.includes(person))
      await stack.breakDown(0, 'SHARD_003')
      const hit = await readAll(load, lost)
      const spared = await readAll(load, others)
      await stack.breakDown(0, '')
      const back = await readAll(load, people)
      expect(Math.max(...spread) - Math.min(...spread) <= 1, 'users are spread evenly')
      expect(hit.failed === hit.asked && hit.asked > 0, 'a lost shard’s users are unavailable')
      expect(spared.failed === 0, 'all other users are unaffected')
      expect(back.failed === 0, 'after the shard is restored, all data is there')
      return [
        `users per shard: ${spread.join(', ')}; an id names its shard, so routing needs no call (directory: 0.0 above, once warm)`,
        `shard 3 unavailable: ${hit.failed} of ${hit.asked} reads of its users failed, ${spared.failed} of ${spared.asked} of all others`,
        `shard 3 restored: ${back.failed} of ${back.asked} failed`,
      ]
    },
  },
]

async function travel(stage: Stage): Promise<void> {
  console.log(`\nStage ${stage.number}: ${stage.title}\n  adds     ${stage.adds}\n  setting  ${stage.setting}\n`)
  const stack = await startStack(stage.options)
  try {
    let turn = 0
    const load = new Load(stack, () => turn++ % stage.options.webs)
    await load.send('warm up', '/readyz')
    load.samples.length = 0
    const people = await settle(load, stage.number)
    console.log(indent(table(summaryHead, load.summary(), 1)))
    console.log(`\n${indent((await stage.show(stack, load, people)).join('\n'))}`)
  } finally {
    await stack.close()
  }
}

/** Users sign up, write posts and are read. */
async function settle(load: Load, stage: number): Promise<Person[]> {
  const people: Person[] = []
  for (let index = 0; index < PEOPLE; index++) people.push(await load.signUp(`person_${stage}_${index}`))
  for (const person of people) await load.post(person, `Hello from stage ${stage}.`)
  for (let read = 0; read < READS; read++) await load.readPost(people[read % PEOPLE]!.posts[0]!)
  for (const person of people) await load.readSelf(person)
  return people
}

async function readAll(load: Load, people: Person[]) {
  const answers: Response[] = []
  for (const { posts } of people) for (const id of posts) answers.push(await load.readPost(id))
  return tally(answers)
}

async function everyoneReadsSelf(load: Load, people: Person[], web?: number) {
  const answers: Response[] = []
  for (const person of people) {
    const headers = { authorization: `Bearer ${person.token}` }
    for (const target of web === undefined ? [0, 1] : [web])
      answers.push(await load.send('read own profile', '/api/v1/me', { headers }, target))
  }
  return tally(answers)
}

const tally = (answers: Response[]) => ({
  asked: answers.length,
  failed: answers.filter(({ status }) => status !== 200).length,
  retryAfter: answers.filter(({ headers }) => headers.has('retry-after')).length,
})

const indent = (text: string): string => text.replace(/^/gm, '  ')

function expect(holds: boolean, what: string): void {
  if (holds) return
  console.error(`\n  FAILED: ${what}`)
  process.exitCode = 1
}

const values = readOptions({ stage: { type: 'string' } })
const chosen = stages.filter(({ number }) => !values.stage || values.stage === String(number))
if (chosen.length === 0) {
  console.error(
    `There is no stage ${values.stage} yet. Available stages: ${stages.map(({ number }) => number).join(', ')}.`,
  )
  process.exit(1)
}
for (const stage of chosen) await travel(stage)

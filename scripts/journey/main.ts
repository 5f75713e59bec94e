/**
 * `npm run journey [-- --stage N]`: the same code through the stages of the guide that are there, and for each what it
 * adds: calls a request, p99, what fails and what doesn't. Exits 1 when a stage doesn't do what it says.
 */
import './quiet.ts'
import '../../src/cli/local-environment.ts'
import { table } from '../../src/cli/table.ts'
import { readOptions } from '../options.ts'
import { Load, type Person, summaryHead } from './load.ts'
import { type Stack, type StackOptions, startStack } from './stack.ts'

interface Stage {
  number: number
  title: string
  adds: string
  setting: string
  options: StackOptions
  /** Shows what fails and what doesn't. Lines to print; throws where the stage doesn't hold. */
  show(stack: Stack, load: Load, people: Person[]): Promise<string[]>
}

const PEOPLE = 8
const READS = 60

const stages: Stage[] = [
  {
    number: 1,
    title: 'One server, everything in one place',
    adds: 'the whole application; no redundancy, a hard ceiling',
    setting: 'npm run dev -- --shards 1, JOBS=inline',
    options: { shards: 1, webs: 1, vars: { JOBS: 'inline' } },
    async show(stack, load, people) {
      await stack.breakDown(0, 'WEB')
      const down = await readAll(load, people)
      await stack.breakDown(0, '')
      const back = await readAll(load, people)
      expect(down.failed === down.asked, 'without its one server, everything fails')
      expect(back.failed === 0, 'after the restart, everything is there')
      return [
        `server away: ${down.failed} of ${down.asked} requests failed`,
        `server back: ${back.failed} of ${back.asked} failed; nothing was lost`,
      ]
    },
  },
  {
    number: 2,
    title: 'Web and database apart',
    adds: 'each fails, restarts and grows for itself; the store fits the data',
    setting: 'Worker ≠ D1; KV for sessions, R2 for files, a queue for work that may wait',
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
        'without the database, reads are 503 with Retry-After',
      )
      expect(alive.status === 200 && ready.status === 503, 'the web tier lives, and says that it is not ready')
      expect(back.failed === 0, 'with the database back, everything is there')
      return [
        `database away: ${down.failed} of ${down.asked} reads 503, each with Retry-After; /healthz ${alive.status}, /readyz ${ready.status}`,
        `database back: ${back.failed} of ${back.asked} failed`,
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
      expect(shared.failed === 0, 'a session that began on one web worker is good on the other')
      expect(one.failed === 0, 'with one web worker out of the balancer, traffic goes on')
      expect(kvAway.failed === 0, 'with KV away, sessions are read from the shard')
      return [
        `sessions begun on web 1, used on both: ${shared.failed} of ${shared.asked} failed`,
        `web 1 out of the balancer: ${one.failed} of ${one.asked} failed on web 2; nobody had to log in again`,
        `KV away: ${kvAway.failed} of ${kvAway.asked} failed; the shard answered for it`,
      ]
    },
  },
  {
    number: 9,
    title: 'Sharding',
    adds: 'storage and write rate grow with the number of databases; one that fails takes its share with it, not all',
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
      expect(Math.max(...spread) - Math.min(...spread) <= 1, 'users spread evenly')
      expect(hit.failed === hit.asked && hit.asked > 0, 'a lost shard’s users are away')
      expect(spared.failed === 0, 'all other users don’t notice')
      expect(back.failed === 0, 'with the shard back, everything is there')
      return [
        `users a shard: ${spread.join(', ')}; an id names its shard, so routing asks nobody (directory: 0.0 above, once warm)`,
        `shard 3 away: ${hit.failed} of ${hit.asked} reads of its users failed, ${spared.failed} of ${spared.asked} of all others`,
        `shard 3 back: ${back.failed} of ${back.asked} failed`,
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

/** People sign up, write, and are read. */
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
      answers.push(await load.send('read oneself', '/api/v1/me', { headers }, target))
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
  console.error(`\n  NOT SO: ${what}`)
  process.exitCode = 1
}

const values = readOptions({ stage: { type: 'string' } })
const chosen = stages.filter(({ number }) => !values.stage || values.stage === String(number))
if (chosen.length === 0) {
  console.error(`There is no stage ${values.stage} yet. There are: ${stages.map(({ number }) => number).join(', ')}.`)
  process.exit(1)
}
for (const stage of chosen) await travel(stage)

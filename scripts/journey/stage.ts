import { configFor } from '../../src/cli/wrangler/local-shards.ts'
import { Cluster } from '../cluster/cluster.ts'
import { Load, type Person } from './load.ts'

interface StageOptions {
  shards: number
  webs: number
  vars: Record<string, string>
  /** Gives the only shard three read replicas, which lag by at most this long (ms). */
  lagMs?: number
}

/** One stage of the guide: a setting of the application, and what fails in it. */
export interface Stage {
  number: number
  title: string
  adds: string
  setting: string
  options: StageOptions
  /** Shows what fails and what does not. Returns lines to print. */
  show(cluster: Cluster, load: Load, people: Person[], expect: Expect): Promise<string[]>
}

/** Reports that the stage does not behave as described. */
export type Expect = (holds: boolean, what: string) => void

const SETTINGS = {
  SIGNING_KEY: 'a key for the journey, which ends with its process',
  LEASE_MS: '30000',
  GRACE_MS: '300000',
  RATE_LIMITS: 'off',
}

/** Starts the application on empty stores, and a load that asks its web servers in turn. */
export async function startCluster({
  shards,
  webs,
  vars,
  lagMs,
}: StageOptions): Promise<{ cluster: Cluster; load: Load }> {
  const { configPath } = configFor(shards)
  const cluster = await Cluster.start({ configPath, persistTo: null, webs, vars: { ...SETTINGS, ...vars }, lagMs })
  let turn = 0
  const load = new Load(cluster, () => turn++ % webs)
  for (let web = 0; web < webs; web++) await load.send('warm up', '/readyz')
  load.samples.length = 0
  if (lagMs !== undefined) await cluster.replication('start')
  return { cluster, load }
}

const PEOPLE = 8

/** Users sign up and write posts. */
export async function settle(load: Load, name: string, postsEach = 1): Promise<Person[]> {
  const people: Person[] = []
  for (let index = 0; index < PEOPLE; index++) people.push(await load.signUp(`person_${name}_${index}`))
  for (let round = 0; round < postsEach; round++)
    for (const person of people) await load.post(person, `Hello from ${name}, number ${round}.`)
  return people
}

/** Without the cache, to show what an earlier stage costs. */
export const uncached = { CACHE: 'off' }

/** Reads every post. */
export async function readAll(load: Load, people: Person[]) {
  const answers: Response[] = []
  for (const { posts } of people) for (const id of posts) answers.push(await load.readPost(id))
  return tally(answers)
}

/** Everyone reads their own profile through each of these web servers. */
export async function everyoneReadsSelf(load: Load, people: Person[], webs: number[]) {
  const answers: Response[] = []
  for (const person of people) for (const web of webs) answers.push(await load.readSelf(person, web))
  return tally(answers)
}

export const tally = (answers: Response[], expected = 200) => ({
  asked: answers.length,
  failed: answers.filter(({ status }) => status !== expected).length,
  retryAfter: answers.filter(({ headers }) => headers.has('retry-after')).length,
})

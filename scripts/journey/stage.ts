import type { Cluster } from '../cluster/cluster.ts'
import type { Load, Person } from './load.ts'

/** One stage of the guide: a setting of the application, and what fails in it. */
export interface Stage {
  number: number
  title: string
  adds: string
  setting: string
  options: { shards: number; webs: number; vars: Record<string, string> }
  /** Shows what fails and what does not. Returns lines to print. */
  show(cluster: Cluster, load: Load, people: Person[], expect: Expect): Promise<string[]>
}

/** Reports that the stage does not behave as described. */
export type Expect = (holds: boolean, what: string) => void

/** Before its stage, nothing is cached. */
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

export const tally = (answers: Response[]) => ({
  asked: answers.length,
  failed: answers.filter(({ status }) => status !== 200).length,
  retryAfter: answers.filter(({ headers }) => headers.has('retry-after')).length,
})

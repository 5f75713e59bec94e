/** Sign-ups that contend for claims while these move, and what the databases must hold afterwards. */
import { expect } from 'vitest'
import { ownedHere } from '../../src/sharding/shards.ts'
import { outboxesDrained, type Stack } from './stack.ts'

const RIVALS = 3

export interface Contest {
  /** How many handles were contended for. */
  rounds: number
  /** Answers that are neither the winner's nor a refusal because the handle is taken. */
  failures: string[]
}

/** Lets a few people sign up with one handle at a time, again and again until `isOver`. */
export async function contendForHandles({ url }: Pick<Stack, 'url'>, isOver: () => boolean): Promise<Contest> {
  const contest: Contest = { rounds: 0, failures: [] }
  while (!isOver()) {
    const handle = `wanted_${contest.rounds++}`
    const signUp = async (rival: number) => {
      const person = { email: `${handle}.${rival}@example.com`, handle, password: 'seven quiet herons' }
      const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(person) }
      const answer = await fetch(new URL('/api/v1/accounts', url), init)
      const { code } = (await answer.json()) as { code?: string }
      return answer.status === 201 ? 'won' : `${answer.status} ${code}`
    }
    const answers = await Promise.all(Array.from({ length: RIVALS }, (_, rival) => signUp(rival)))
    const losers = answers.filter((answer) => answer === '409 HANDLE_TAKEN').length
    if (answers.filter((answer) => answer === 'won').length !== 1 || losers !== RIVALS - 1)
      contest.failures.push(`${handle}: ${answers.join(', ')}`)
  }
  return contest
}

interface Claim {
  key: string
  kind: string
  owner: string
  state: string
}

/**
 * Expects each claim once, confirmed and with its account, and two claims per account. Reads the databases directly, and
 * of each the rows in slots that it owns. Resolves to the number of claims per binding.
 */
export async function expectClaimsOnce(stack: Stack): Promise<Record<string, number>> {
  await outboxesDrained(stack)
  const accounts = new Set<string>()
  const claims: Claim[] = []
  const counts: Record<string, number> = {}
  for (const [binding, database] of stack.databases) {
    const [users, own] = await database.batch<Claim & { id: string }>([
      database.prepare(`SELECT id FROM accounts WHERE ${ownedHere('users', 'id')}`),
      database.prepare(`SELECT key, kind, owner_id AS owner, state FROM claims WHERE ${ownedHere('claims', 'key')}`),
    ])
    for (const { id } of users!.results) accounts.add(id)
    claims.push(...own!.results)
    counts[binding] = own!.results.length
  }
  expect(new Set(claims.map(({ key }) => key)).size).toBe(claims.length)
  expect(claims.filter(({ state, owner }) => state !== 'confirmed' || !accounts.has(owner))).toEqual([])
  const kinds = Map.groupBy(claims, ({ owner }) => owner)
  expect([...kinds.values()].map((own) => own.map(({ kind }) => kind).toSorted())).toEqual(
    [...accounts].map(() => ['email', 'handle']),
  )
  return counts
}

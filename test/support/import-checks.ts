import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { claimKey } from '../../src/sharding/claims.ts'
import { type Running, startBanyan } from './banyan.ts'
import { type OldUser, oldUser } from './old-application.ts'

const POLL_MS = 10

/** Runs the import until `acknowledged` users are acknowledged, then kills it at once. */
export async function importUntil(url: URL, file: string, acknowledged: number, ...options: string[]): Promise<number> {
  const running: Running = startBanyan(url, 'import', file, ...options)
  const place = `${file}.import-state.json`
  const reached = () =>
    existsSync(place)
      ? (JSON.parse(readFileSync(place, 'utf8')) as { place: { acknowledged: number } }).place.acknowledged
      : 0
  while (reached() < acknowledged) {
    if (running.child.exitCode !== null)
      throw new Error(`it exited before that: ${JSON.stringify(await running.ended)}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  running.child.kill('SIGKILL')
  const { signal } = await running.ended
  expect(signal).toBe('SIGKILL')
  return reached()
}

type Row = Record<string, string | number | null>

/** A table's rows over all shards, each from the shard that serves its slot. */
export type ReadTable = (sql: string) => Promise<Row[]> | Row[]

/**
 * Expects exactly these users, apart from `others`: the rows as in the dump, each user with three confirmed claims, and
 * no claim without an account.
 */
export async function expectImported(
  read: ReadTable,
  { users, source, others }: { users: OldUser[]; source: string; others: number },
): Promise<void> {
  const accounts = await read('SELECT * FROM accounts')
  const profiles = new Map((await read('SELECT * FROM profiles')).map((row) => [row.id, row]))
  const claims = new Map((await read('SELECT * FROM claims')).map((row) => [row.key, row]))
  expect([accounts.length, profiles.size]).toEqual([users.length + others, users.length + others])
  expect(claims.size).toBe(3 * users.length + 2 * others)
  const byEmail = new Map(accounts.map((row) => [row.email, row]))
  const wrong: unknown[] = []
  for (const user of users) {
    const account = byEmail.get(user.email.toLowerCase())
    const profile = profiles.get(account?.id ?? null)
    const specs = [
      { kind: 'email', value: user.email.toLowerCase() },
      { kind: 'handle', value: user.username },
      { kind: 'external', value: `${source}\0${user.id}` },
    ] as const
    const held = specs.map((spec) => claims.get(claimKey(spec)))
    const isWhole =
      account?.created_at === user.createdAt &&
      account.password_hash === (user.passwordHash?.startsWith('$scrypt$') ? user.passwordHash : '!') &&
      profile?.handle === user.username &&
      profile.display_name === user.name &&
      profile.created_at === user.createdAt &&
      held.every((claim) => claim?.owner_id === account.id && claim?.state === 'confirmed')
    if (!isWhole) wrong.push({ user, account, profile, held })
  }
  expect(wrong.slice(0, 3)).toEqual([])
}

export const oldUsers = (count: number, isWithout: (n: number) => boolean = () => false): OldUser[] =>
  Array.from({ length: count }, (_, index) => oldUser(index + 1)).filter(({ id }) => !isWithout(id))

import { UserError } from '../shell/errors.ts'
import { Client, type Ended, type Tools } from './client.ts'
import type { SentPost } from './ledger.ts'
import { TextHistory } from './text-history.ts'

export type Post = SentPost<Person>

/** One who reads and writes: one write at a time, so that the newest causal token is the last write's. */
export interface Person {
  handle: string
  client: Client
  bio: TextHistory
  /** Acknowledged ones, oldest first. */
  posts: Post[]
  isWriting: boolean
}

const PASSWORD = 'seven quiet herons'

/** Signs somebody up. Throws UserError when that is refused, or not answered. */
export async function signUp(base: URL, tools: Tools, run: string, number: number): Promise<Person> {
  const client = new Client(base, tools)
  const handle = `${run}_${number}`
  const json = { email: `${handle}@example.com`, handle, password: PASSWORD }
  const ended = await client.request('POST', '/api/v1/accounts', { json, key: `sign-up-${handle}` })
  if (ended.outcome !== 'acknowledged') throw notTaken(base, 'sign a user up', ended)
  client.token = (JSON.parse(ended.body) as { token: string }).token
  return { handle, client, bio: new TextHistory(), posts: [], isWriting: false }
}

/** Why a load can’t even begin. */
export function notTaken({ origin }: URL, what: string, { status, reason }: Ended): UserError {
  if (status === 429)
    return new UserError(
      `${origin} didn’t ${what}: it limits requests (${reason}).`,
      'Load comes from one address: set RATE_LIMITS to off where you measure (docs/operating/settings.md).',
    )
  return new UserError(
    `${origin} didn’t ${what} (${reason}).`,
    status === 0 ? 'Is it running? Locally: npm run dev.' : `What it needs: ${origin}/readyz, and its logs.`,
  )
}

/** Throws UserError when nobody is there, or what is there isn't ready. */
export async function expectReady(base: URL, tools: Tools): Promise<void> {
  const client = new Client(base, tools)
  const { outcome, status, reason, body } = await client.request('GET', '/readyz', { giveUpMs: 0 })
  if (outcome === 'acknowledged') return
  if (status === 0)
    throw new UserError(
      `${base.origin} does not answer (${reason}).`,
      'Is it running? Locally: npm run dev. Elsewhere: --url URL.',
    )
  throw new UserError(`${base.origin} is not ready (${reason}).`, body.slice(0, 1_000) || 'Its logs say why.')
}

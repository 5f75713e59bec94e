import { UserError } from '../shell/errors.ts'
import { Client, type ClientOptions, type Ended } from './client.ts'
import type { LoadPart, Person } from './noun.ts'

/** A user who is signed up and has a first thing of each noun. Throws UserError if that is refused, or not answered. */
export async function newPerson(
  base: URL,
  clientOptions: ClientOptions,
  name: string,
  parts: LoadPart[],
): Promise<Person> {
  const person: Person = { name, client: new Client(base, clientOptions), isWriting: false }
  for (const part of parts) expectTaken(base, 'sign a user up', await part.signUp?.(person))
  for (const { thing } of parts) expectTaken(base, `take a first ${thing?.name}`, await thing?.writeFirst?.(person))
  return person
}

/** Throws UserError if the load cannot begin because of this. */
function expectTaken({ origin }: URL, what: string, ended?: Ended): void {
  if (!ended || ended.outcome === 'acknowledged') return
  const { status, reason } = ended
  if (status === 429)
    throw new UserError(
      `${origin} didn’t ${what}: it limits requests (${reason}).`,
      'Load comes from one address: set RATE_LIMITS to off where you measure (docs/operating/settings.md).',
    )
  throw new UserError(
    `${origin} didn’t ${what} (${reason}).`,
    status === 0 ? 'Is it running? Locally: npm run dev.' : `What it needs: ${origin}/readyz, and its logs.`,
  )
}

/** Throws UserError if nobody answers there, or the application is not ready. */
export async function expectReady(base: URL, clientOptions: ClientOptions): Promise<void> {
  const client = new Client(base, clientOptions)
  const { outcome, status, reason, body } = await client.request('GET', '/readyz', { giveUpMs: 0 })
  if (outcome === 'acknowledged') return
  if (status === 0)
    throw new UserError(
      `${base.origin} does not answer (${reason}).`,
      'Is it running? Locally: npm run dev. Elsewhere: --url URL.',
    )
  throw new UserError(`${base.origin} is not ready (${reason}).`, body.slice(0, 1_000) || 'Its logs say why.')
}

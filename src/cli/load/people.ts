import { UserError } from '../shell/errors.ts'
import { Client, type ClientOptions, type Ended } from './client.ts'
import type { LoadPart, Person } from './noun.ts'

/** Signs up a user, with a first thing of each noun. Throws UserError if that is refused or not answered. */
export async function newPerson(
  base: URL,
  clientOptions: ClientOptions,
  name: string,
  parts: LoadPart[],
): Promise<Person> {
  const person: Person = { name, client: new Client(base, clientOptions), isWriting: false }
  for (const part of parts) expectTaken(base, 'sign up a user', await part.signUp?.(person))
  for (const { thing } of parts) expectTaken(base, `accept a first ${thing?.name}`, await thing?.writeFirst?.(person))
  return person
}

/** Throws UserError if the request was not acknowledged, because the load can't start without it. */
function expectTaken({ origin }: URL, what: string, ended?: Ended): void {
  if (!ended || ended.outcome === 'acknowledged') return
  const { status, reason } = ended
  if (status === 429)
    throw new UserError(
      `${origin} did not ${what}, because it limits requests (${reason}).`,
      'All load comes from one address. Set RATE_LIMITS to off in the application that you measure (docs/operating/settings.md).',
    )
  throw new UserError(
    `${origin} did not ${what} (${reason}).`,
    status === 0 ? START_IT : `Check ${origin}/readyz and the application’s logs for the cause.`,
  )
}

const START_IT = 'Start the application (locally: npm run dev), or pass the right address with --url.'

/** Throws UserError if the application does not answer, or is not ready. */
export async function expectReady(base: URL, clientOptions: ClientOptions): Promise<void> {
  const client = new Client(base, clientOptions)
  const { outcome, status, reason, body } = await client.request('GET', '/readyz', { giveUpMs: 0 })
  if (outcome === 'acknowledged') return
  if (status === 0) throw new UserError(`${base.origin} does not answer (${reason}).`, START_IT)
  const dependencies = body.slice(0, 1_000)
  throw new UserError(
    `${base.origin} is not ready (${reason}).${dependencies && `\n${dependencies}`}`,
    'Fix the dependency that /readyz names; the application’s logs show the cause.',
  )
}

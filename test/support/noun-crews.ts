/** What nouns write in a run with kills: one file per noun, `test/e2e/<noun>/crew.ts`, found by its name. */
import type { Random } from '../../src/core/random.ts'
import type { PersistentClient } from './persistent-client.ts'

/** One user, as a noun's crew sees it. @public For nouns. */
export interface CrewMember {
  handle: string
  /** Known after the sign-up. */
  id(): string
  client: PersistentClient
  random: Random
  /** Every key with an acknowledged request. The crew adds its own. */
  keys: Set<string>
  /** The noun changed what the user's profile shows. `uncertain` further requests may have done so, too. */
  profileChanged(uncertain: number): void
  /** Reports a violation. */
  violated(what: string, status: number, text: string): void
  /** An Idempotency-Key and a text that are unique in the run. */
  next(): { key: string; text: string }
}

export interface NounWriter {
  /** Writes one entity of the noun, or reads one back. */
  step(): Promise<void>
}

/** Runs a query on all shards and returns their rows together. @public For nouns. */
export type QueryAll = <T>(sql: string) => T[]

/** Everything that the users of one run write of one noun. */
export interface NounCrew {
  readonly acknowledged: Record<string, number>
  join(member: CrewMember): NounWriter
  /** Any visitor reads everything as it was acknowledged. */
  expectRead(url: URL): Promise<void>
  /** Everything acknowledged is stored once, and nothing else is. */
  expectStored(all: QueryAll): void
  /** The same for what jobs write, after the last job. */
  expectDrained?(all: QueryAll): void
}

const files = import.meta.glob<{ createCrew: () => NounCrew }>('../e2e/*/crew.ts', { eager: true })

export const createCrews = (): NounCrew[] => Object.values(files).map(({ createCrew }) => createCrew())

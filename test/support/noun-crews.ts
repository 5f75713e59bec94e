/** What nouns write in a run with kills: a file a noun, `test/e2e/<noun>/crew.ts`, found by its name. */
import type { Random } from '../../src/core/random.ts'
import type { PersistentClient } from './persistent-client.ts'

/** One person, as a noun's crew knows it. @public For nouns. */
export interface CrewMember {
  handle: string
  /** Known after the sign-up. */
  id(): string
  client: PersistentClient
  random: Random
  /** Every key under which something was acknowledged: the crew adds its own. */
  keys: Set<string>
  /** Reports what must never happen. */
  violated(what: string, status: number, text: string): void
  /** An Idempotency-Key and a text that nobody else uses. */
  next(): { key: string; text: string }
}

export interface NounWriter {
  /** Writes one thing of the noun, or reads one back. */
  step(): Promise<void>
}

/** Asks all shards, and gives their rows together. @public For nouns. */
export type QueryAll = <T>(sql: string) => T[]

/** What all people of one run write of one noun. */
export interface NounCrew {
  readonly acknowledged: Record<string, number>
  join(member: CrewMember): NounWriter
  /** Everything that was acknowledged is read as it was acknowledged, by anybody. */
  expectRead(url: URL): Promise<void>
  /** And it is stored once, and nothing else is. */
  expectStored(all: QueryAll): void
}

const files = import.meta.glob<{ createCrew: () => NounCrew }>('../e2e/*/crew.ts', { eager: true })

export const createCrews = (): NounCrew[] => Object.values(files).map(({ createCrew }) => createCrew())

import type { Client, Clock, Ended } from './client.ts'
import type { Random } from './draws.ts'
import type { Sightings } from './sightings.ts'
import type { RunTexts } from './texts.ts'

/**
 * What a noun of the application contributes to the load: the export `operator` of `src/app/<noun>/load.operator.ts`. It is
 * called once per run, so that what it returns may keep what the noun has sent.
 */
export type LoadNoun = (run: LoadRun) => LoadPart

/** What a run gives to its nouns. */
export interface LoadRun {
  clock: Clock
  /** Numbers the texts that the run writes, and finds the number of a text that was read. */
  texts: RunTexts
  /** Counts what readers see during the run. */
  sightings: Sightings
  /** Those who have signed up so far, each with its first things. */
  people: readonly Person[]
}

/** A user who reads and writes, with one write at a time: the newest causal token is then the last write's. */
export interface Person {
  /** Begins with the run's name: at most 25 of `a-z 0-9 _`, the first one a letter. */
  name: string
  client: Client
  isWriting: boolean
}

/** A noun's requests in one run. Each property is optional, because a noun may contribute to one stage only. */
export interface LoadPart {
  /** Signs somebody up and sets the client's token. The load cannot begin unless this is acknowledged. */
  signUp?(person: Person): Promise<Ended>
  reads?: RequestKind[]
  writes?: RequestKind[]
  thing?: Thing
}

/** What a noun stores for its users, and the report counts. */
interface Thing {
  /** In the singular, as in `note`. The report adds an s for the plural: `69 notes`. */
  name: string
  /** Writes a new user's first one, so that there is something to read. The load cannot begin unless it is acknowledged. */
  writeFirst?(person: Person): Promise<Ended>
  /** How many were acknowledged, and the checks that read all of them back. */
  readBack(reader: Reader): { count: number; checks: Check[] }
}

export interface RequestKind {
  /** Names a line of the report, as in `read note`. */
  name: string
  /** In proportion to the other reads, or to the other writes, of all nouns. Those of the sample add up to 100. */
  weight: number
  /** Draws a request of this person. Null if there is none at present: then another kind takes its place. */
  draw(person: Person, random: Random): (() => Promise<Ended>) | null
}

/** Reads without a token, like a stranger. */
export interface Reader {
  get(path: string): Promise<Ended>
}

/** Reads something back. It is called again while a fault may only be late. */
export type Check = () => Promise<Finding[]>

/**
 * `lost`: acknowledged, and not there, or older. `doubled`: one write there twice. `unexpected`: what nobody has sent, or
 * what was refused. `unread`: nobody has answered, so that nothing is known.
 */
export type Fault = 'lost' | 'doubled' | 'unexpected' | 'unread'

export interface Finding {
  fault: Fault
  /** What it is about: several findings about one thing count once. */
  about: string
  what: string
}

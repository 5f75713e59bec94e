import type { Client, Clock, Ended } from './client.ts'
import type { Random } from './draws.ts'
import type { Sightings } from './sightings.ts'
import type { RunTexts } from './texts.ts'

/**
 * A noun's contribution to the load: the export `operator` of `src/app/<noun>/load.operator.ts`. It is called once per
 * run, so its result may keep the noun's requests.
 */
export type LoadNoun = (run: LoadRun) => LoadPart

/** The context of a run. */
export interface LoadRun {
  clock: Clock
  /** Numbers the texts that the run writes, and finds the number of a text that was read. */
  texts: RunTexts
  /** Counts the results of reads during the run. */
  sightings: Sightings
  /** Users who have signed up so far, each with their first things. */
  people: readonly Person[]
}

/** A user who reads and writes. Writes run one at a time, so that the newest causal token is the last write's. */
export interface Person {
  /** Starts with the run's name. At most 25 of `a-z 0-9 _`, starting with a letter. */
  name: string
  client: Client
  isWriting: boolean
}

/** A noun's requests in one run. Each property is optional, because a noun may contribute to one stage only. */
export interface LoadPart {
  /** Signs up a user and sets the client's token. The load does not start unless this is acknowledged. */
  signUp?(person: Person): Promise<Ended>
  reads?: RequestKind[]
  writes?: RequestKind[]
  thing?: Thing
}

/** The things that a noun stores for its users, and that the report counts. */
interface Thing {
  /** In the singular, as in `note`. The report adds an s for the plural: `69 notes`. */
  name: string
  /**
   * Writes a new user's first thing, so that there is one to read. The load does not start unless it is acknowledged.
   */
  writeFirst?(person: Person): Promise<Ended>
  /** The number of acknowledged things, and the checks that read all of them back. */
  readBack(reader: Reader): { count: number; checks: Check[] }
}

export interface RequestKind {
  /** Names a line of the report, as in `read note`. */
  name: string
  /** Relative to all nouns' reads, or to all nouns' writes. The sample's weights add up to 100. */
  weight: number
  /** Draws a request of this person. Null if there is none now, so that another kind takes its place. */
  draw(person: Person, random: Random): (() => Promise<Ended>) | null
}

/** Reads without a token. */
export interface Reader {
  get(path: string): Promise<Ended>
}

/** Reads one thing back. It is called again while a fault may still be a delay. */
export type Check = () => Promise<Finding[]>

/**
 * `lost`: an acknowledged write is missing or replaced by an older one. `doubled`: a write is stored twice.
 * `unexpected`: content that was never sent, or was refused. `unread`: no answer, so the state is unknown.
 */
export type Fault = 'lost' | 'doubled' | 'unexpected' | 'unread'

export interface Finding {
  fault: Fault
  /** The thing's name. Several findings about one thing count once. */
  about: string
  what: string
}

/**
 * What a noun contributes to the tests that have one row per route, in `nouns/<noun>.ts`. `noun-routes.ts` finds the
 * file by its name.
 */

export type Fields = Record<string, unknown>

/**
 * The kind of client. A `bearer` sends a token, a `browser` its cookies. This isolate met both within the last minute.
 */
export type Who = 'visitor' | 'browser' | 'bearer' | 'bearer, not met in a minute' | 'operator'

interface AskAnswer {
  status: number
  text: string
  json<T>(): T
}

/** A signed-in user, whose requests `ask` sends. */
export interface SignedInUser {
  handle: string
  /** A `Uint8Array` is sent unchanged. */
  ask(method: string, path: string, json?: unknown): Promise<AskAnswer>
}

/** A user with the ids of the entities that the nouns have created for the user. */
export interface Owner extends SignedInUser {
  created: Record<string, string>
}

/** The calls that a request waits for in a warm isolate. */
interface CallFigures {
  who: Who
  /** Queries or batches. */
  d1: number
  kv: number
  why: string
}

/** @public For nouns. */
export type ReadBack = (owner: Owner, sent: Fields, answer: AskAnswer) => Promise<[sent: unknown, stored: unknown]>

export interface RouteRow {
  calls: CallFigures[]
  /** The route refuses a request without a session, or with one that has ended. */
  isSignedIn?: boolean
  /** By default, the route's own pattern. */
  path?: (owner: Owner) => string
  /** No request of the tests creates what the path names, so the answer is 404. */
  isMissing?: boolean
  /** The request deletes the entity that the path names. */
  isFinal?: boolean
  /** A body that is accepted (JSON, or the form of a page). Each `number` gives a different one. */
  body?: (number: number) => Fields
  /** A file that is accepted as the whole body, instead of `body`. */
  file?: () => Uint8Array<ArrayBuffer>
  /** The path exists only after a job, which does not run in all of these tests. */
  needsJob?: boolean
  /**
   * By text field of a JSON body: texts that are refused. Other types than text are always refused, and so is a body
   * without the field.
   */
  refuses?: Record<string, string[]>
  /** The fields that a body may omit. */
  optional?: string[]
  /** The fields of an accepted body that must be stored, and the fields that are read back. */
  readBack?: ReadBack
  /** The route takes an Idempotency-Key. */
  takesKey?: boolean
  /** The route takes `limit` and `cursor`. */
  isPaged?: boolean
}

export interface TestNoun {
  /** Creates the entities that the paths name, for a user who has just signed up. Resolves to their ids. */
  create?: (user: SignedInUser) => Promise<Record<string, string>>
  /** By method and path, as Hono writes them: `PATCH /api/v1/posts/:id`. */
  routes: Record<string, RouteRow>
  /** The calls that it adds to another noun's routes. */
  adds?: { route: string; d1: number; kv: number; why: string }[]
}

/** What a noun brings to the tests that have a row for each route, in `nouns/<noun>.ts`. `noun-routes.ts` finds it by its name. */

export type Fields = Record<string, unknown>

/** Who asks. A `bearer` sends a token, a `browser` its cookies; both were met by this isolate within the last minute. */
export type Who = 'visitor' | 'browser' | 'bearer' | 'bearer, not met in a minute' | 'operator'

interface AskAnswer {
  status: number
  text: string
  json<T>(): T
}

/** Somebody who is signed in, and whose requests `ask` sends. */
export interface SignedInUser {
  handle: string
  ask(method: string, path: string, json?: unknown): Promise<AskAnswer>
}

/** A user with the ids of what the nouns have created of theirs. */
export interface Owner extends SignedInUser {
  created: Record<string, string>
}

/** What a request waits for in a warm isolate. */
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
  /** It needs a session: without one, or with one that has ended, it refuses. */
  isSignedIn?: boolean
  /** Without it, the route's own pattern. */
  path?: (owner: Owner) => string
  /** Its request deletes what the path names. */
  isFinal?: boolean
  /** A body that is accepted (JSON, or the form of a page); `number` is another for each. */
  body?: (number: number) => Fields
  /** By text field of a JSON body: texts that are refused. Other types than text always are, and so is a body without the field. */
  refuses?: Record<string, string[]>
  /** Those of these fields that a body may lack. */
  optional?: string[]
  /** What of an accepted body is to be stored, and what is read back. */
  readBack?: ReadBack
  /** It takes an Idempotency-Key. */
  takesKey?: boolean
  /** It takes `limit` and `cursor`. */
  isPaged?: boolean
}

export interface TestNoun {
  /** Creates what the paths name, for somebody who has just signed up. Resolves to ids. */
  create?: (user: SignedInUser) => Promise<Record<string, string>>
  /** By method and path, as Hono writes them: `PATCH /api/v1/posts/:id`. */
  routes: Record<string, RouteRow>
  /** What it adds to the calls of another noun's routes. */
  adds?: { route: string; d1: number; kv: number; why: string }[]
}

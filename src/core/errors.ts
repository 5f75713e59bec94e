/**
 * Every error a caller can meet has a stable code; this is the list. `status` and `title` are what the one mapping to
 * RFC 9457 (src/web/problems.ts) sends. The reason inside may be rich; only `detail` leaves the house.
 */
const catalogue = {
  // 4xx: what the caller can change
  MALFORMED_JSON: [400, 'The body is not JSON'],
  MALFORMED_UTF8: [400, 'The request has bytes that are not UTF-8'],
  NOT_SIGNED_IN: [401, 'Sign in first'],
  SESSION_ENDED: [401, 'The session has ended'],
  WRONG_CREDENTIALS: [401, 'The login or the password is wrong'],
  OPERATOR_TOKEN_REQUIRED: [401, 'An operator’s token is required'],
  FORBIDDEN: [403, 'Not allowed'],
  WRONG_ORIGIN: [403, 'The request comes from another site'],
  NOT_FOUND: [404, 'Not found'],
  EMAIL_TAKEN: [409, 'The e-mail address is taken'],
  HANDLE_TAKEN: [409, 'The handle is taken'],
  CONFLICT: [409, 'The request met a conflicting change'],
  MOVE_STATE: [409, 'The move’s state doesn’t allow it'],
  SCHEMA_VERSIONS_DIFFER: [409, 'The shards have different schemas'],
  SHARD_IN_MOVE: [409, 'Another move is at one of the shards'],
  SHARD_LACKS_ROOM: [409, 'The target has no room for the slots'],
  SHARD_NOT_EMPTY: [409, 'The shard has slots or rows'],
  SHARD_NOT_SERVING: [409, 'The shard takes no moves now'],
  SLOTS_IN_MOVE: [409, 'The slots are in another move'],
  BODY_TOO_LARGE: [413, 'The body is too large'],
  WRONG_CONTENT_TYPE: [415, 'The content type is not supported'],
  INVALID: [422, 'The request is not valid'],
  IDEMPOTENCY_KEY_REUSED: [422, 'The idempotency key was used with another body'],
  ROW_TOO_LARGE: [422, 'What is to be stored is too large'],
  RATE_LIMITED: [429, 'Too many requests'],
  // 5xx: what we can change
  INTERNAL: [500, 'Something went wrong here'],
  DATABASE_CONSTRAINT: [500, 'A database constraint was violated'],
  DATABASE_ERROR: [500, 'The database refused a statement'],
  SHARD_FULL: [507, 'A database is full'],
  BATCH_REFUSED: [503, 'A batch was refused because of one item in it'],
  BUDGET_SPENT: [503, 'The request needs more statements than an invocation may send'],
  D1_DAILY_LIMIT: [503, 'The daily limit of the databases is reached'],
  DIRECTORY_UNAVAILABLE: [503, 'The shard map is not available'],
  LOCAL_SETTINGS: [503, 'Local settings on a public address'],
  MIGRATIONS_PENDING: [503, 'The databases are not migrated'],
  OUTCOME_UNKNOWN: [503, 'The write may or may not have happened'],
  SETTING_MISSING: [503, 'A setting is missing'],
  SHARD_FOREIGN: [503, 'A database belongs to another deployment'],
  SHARD_READ_ONLY: [503, 'The database takes no writes now'],
  SHARD_RESTORING: [503, 'The database is being restored'],
  SHARD_UNAVAILABLE: [503, 'A database does not answer'],
  SHARD_UNKNOWN: [503, 'This version has no binding for a shard'],
  SLOT_FENCED: [503, 'The data is being moved'],
  SLOT_NOT_OWNED: [503, 'The data has moved'],
} as const satisfies Record<string, readonly [number, string]>

export type ErrorCode = keyof typeof catalogue

/** One field that is wrong: `pointer` is a JSON pointer (RFC 6901) into the body, or the name of a query parameter. */
export interface FieldError {
  pointer: string
  detail: string
}

export interface ErrorOptions {
  cause?: unknown
  errors?: FieldError[]
  retryAfterSeconds?: number
  /** How to fix it, where the message is another's text. */
  hint?: string
}

/** An expected outcome that ends the call. `detail` is written for the caller: what happened, and how to mend it. */
export class BanyanError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[] | undefined
  readonly retryAfterSeconds: number | undefined
  readonly hint: string | undefined

  constructor(code: ErrorCode, detail?: string, options: ErrorOptions = {}) {
    super(detail ?? catalogue[code][1], options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'BanyanError'
    this.code = code
    this.errors = options.errors
    this.retryAfterSeconds = options.retryAfterSeconds
    this.hint = options.hint
  }

  /** The message and the hint: for an operator or a builder. */
  get advice(): string {
    return this.hint === undefined ? this.message : `${this.message}. ${this.hint}`
  }

  get status(): (typeof catalogue)[ErrorCode][0] {
    return catalogue[this.code][0]
  }

  get title(): string {
    return catalogue[this.code][1]
  }
}

/** True when `error` is a `BanyanError` with one of these codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is BanyanError {
  return error instanceof BanyanError && codes.includes(error.code)
}

/** What an operator runs where databases lag, as errors say it: without `--remote` it is about the local ones. */
export const MIGRATE = 'npm run banyan -- migrations apply (deployed: --remote)'

/** For what can't happen unless the code is wrong. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${message}`)
}

/** The text of anything thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The command that applies migrations, as errors name it. Without `--remote` it applies them to the local databases. */
export const MIGRATE = 'npm run banyan -- migrations apply (deployed: --remote)'

/**
 * All stable error codes: the HTTP status, the title, the fix for the reader of a 4xx or the operator, and for a 5xx the
 * fix for the caller, who learns nothing internal. src/web/problems.ts maps them to RFC 9457. docs/errors.md explains
 * each.
 */
export const catalogue = {
  // 4xx: the caller can fix it
  MALFORMED_JSON: [400, 'The body is not JSON', 'Send a body of valid JSON in UTF-8.'],
  MALFORMED_UTF8: [
    400,
    'The request has bytes that are not UTF-8',
    'Send UTF-8, and percent-encode it in addresses and forms.',
  ],
  NOT_SIGNED_IN: [401, 'Sign in first', 'Log in. Clients other than browsers send `Authorization: Bearer <token>`.'],
  SESSION_ENDED: [401, 'The session has ended', 'Log in again.'],
  WRONG_CREDENTIALS: [401, 'The login or the password is wrong', 'Check both, or reset the password.'],
  OPERATOR_TOKEN_REQUIRED: [
    401,
    'An operator’s token is required',
    'Send `Authorization: Bearer $OPERATOR_TOKEN`, or pass --token to the command.',
  ],
  FORBIDDEN: [403, 'Not allowed', 'Sign in with the account that owns the resource.'],
  WRONG_ORIGIN: [
    403,
    'The request comes from another site',
    'Send it from this site, or authenticate with a Bearer token instead of a cookie.',
  ],
  NOT_FOUND: [404, 'Not found', 'Check the address and the id.'],
  EMAIL_TAKEN: [409, 'The e-mail address is taken', 'Log in, or use another address.'],
  HANDLE_TAKEN: [409, 'The handle is taken', 'Choose another handle.'],
  TOO_MANY_HANDLES: [
    409,
    'The account keeps too many previous handles',
    'Take a previous handle back, or wait until the first of them is free.',
  ],
  CONFLICT: [409, 'The request conflicts with another change', 'Read the current state, then send the request again.'],
  LIMIT_REACHED: [409, 'The account has reached a limit', 'Remove something first. `detail` names the limit.'],
  MOVE_STATE: [
    409,
    'The move’s state doesn’t allow it',
    'See its state and what it allows: `npm run banyan -- moves show ID`.',
  ],
  SCHEMA_VERSIONS_DIFFER: [409, 'The shards have different schemas', `Apply the pending migrations: ${MIGRATE}.`],
  SHARD_IN_MOVE: [
    409,
    'Another move uses one of the shards',
    'Wait until that move has ended, or abort it: `npm run banyan -- moves list`.',
  ],
  SHARD_LACKS_ROOM: [
    409,
    'The target has no room for the slots',
    'Move fewer slots, or add a shard: `npm run banyan -- shards add`.',
  ],
  SHARD_NOT_EMPTY: [
    409,
    'The shard has slots or rows',
    'Drain the shard before you remove it. Only an empty database can join.',
  ],
  SHARD_NOT_SERVING: [
    409,
    'The shard accepts no moves now',
    'Choose a serving shard: `npm run banyan -- shards list`.',
  ],
  SLOTS_IN_MOVE: [
    409,
    'The slots are in another move',
    'Wait until that move has ended, or abort it: `npm run banyan -- moves list`.',
  ],
  BODY_TOO_LARGE: [413, 'The body is too large', 'Send a smaller body.'],
  PICTURE_TOO_LARGE: [413, 'The picture is too large', 'Send a picture with fewer bytes, pixels or frames.'],
  PICTURE_TYPE: [415, 'The file is not a picture of a supported type', 'Send a complete JPEG, PNG, WebP, AVIF or GIF.'],
  WRONG_CONTENT_TYPE: [
    415,
    'The content type is not supported',
    'Send application/json to the API, and application/x-www-form-urlencoded to a page.',
  ],
  INVALID: [422, 'The request is not valid', 'Correct the fields that `errors` lists.'],
  IDEMPOTENCY_KEY_REUSED: [
    422,
    'The idempotency key was used with another body',
    'Send the same body to repeat that request, or a new key for a new one.',
  ],
  ROW_TOO_LARGE: [422, 'The item is too large to store', 'Send less text in one item.'],
  SESSION_DATA_TOO_LARGE: [422, 'The session’s data is too large', 'Store less in the session.'],
  RATE_LIMITED: [429, 'Too many requests', 'Wait for the number of seconds in Retry-After, then try again.'],
  // 5xx: the operator can fix it
  INTERNAL: [
    500,
    'Something went wrong here',
    'Find the log event request.bug or request.failed with the request id: `npx wrangler tail --format json`.',
    'Try again. If it fails again, report the request id.',
  ],
  DATABASE_CONSTRAINT: [
    500,
    'A database constraint was violated',
    'Find the constraint in the log event request.failed: `npx wrangler tail --format json`.',
    'Try again. If it fails again, report the request id.',
  ],
  DATABASE_ERROR: [
    500,
    'The database refused a statement',
    'Find the statement’s error in the log event request.failed: `npx wrangler tail --format json`.',
    'Try again. If it fails again, report the request id.',
  ],
  SHARD_FULL: [
    507,
    'A database is full',
    'Add a shard and move slots to it: `npm run banyan -- shards add`, then `npm run banyan -- rebalance`.',
    'Reads still work. Try to write again later.',
  ],
  BATCH_REFUSED: [
    503,
    'A batch was refused because of one item in it',
    'Send the request again. If it fails again, find shard.error in the logs: `npx wrangler tail --format json`.',
    'Send the request again.',
  ],
  BUDGET_SPENT: [
    503,
    'The request needs more statements than an invocation may send',
    'Send fewer items per request. An invocation may send 1,000 statements.',
    'Send fewer items in one request.',
  ],
  D1_DAILY_LIMIT: [
    503,
    'The daily limit of the databases is reached',
    'Change to Cloudflare’s paid plan in the dashboard, or wait until midnight UTC.',
    'Try again after midnight UTC.',
  ],
  DIRECTORY_UNAVAILABLE: [
    503,
    'The shard map is not available',
    'Look at the line of the directory: `curl -s https://<address>/readyz`.',
    'Try again in a few seconds.',
  ],
  KEYSPACE_UNASSIGNED: [
    503,
    'The slots of a new table group are not assigned yet',
    'See why: `npm run banyan -- keyspaces list`.',
    'Try again in a few seconds.',
  ],
  LOCAL_SETTINGS: [
    503,
    'Local settings on a public address',
    'Set secrets of your own (`npx wrangler secret put NAME`), then run `npm run deploy`.',
    'Try again when the operator has set up this site.',
  ],
  MIGRATIONS_PENDING: [
    503,
    'The databases are not migrated',
    `Apply the pending migrations: ${MIGRATE}.`,
    'Try again in a few minutes.',
  ],
  OUTCOME_UNKNOWN: [
    503,
    'The write may or may not have happened',
    'Repeat it with the same Idempotency-Key, and find the cause in the logs: `npx wrangler tail --format json`.',
    'Send the request again with the same Idempotency-Key.',
  ],
  SETTING_MISSING: [
    503,
    'A setting is missing',
    'Set it in wrangler.toml or with `npx wrangler secret put NAME`, then run `npm run deploy`.',
    'Try again in a few minutes.',
  ],
  SHARD_FOREIGN: [
    503,
    'A database belongs to another deployment',
    'Correct the database’s id in wrangler.toml, then run `npm run deploy`.',
    'Try again in a few minutes.',
  ],
  SHARD_READ_ONLY: [
    503,
    'The database accepts no writes now',
    'Allow writes again: `npm run banyan -- shards read-only ID --off`.',
    'Reads still work. Try to write again in a few minutes.',
  ],
  SHARD_RESTORING: [
    503,
    'The database is being restored',
    'Run the restore again to resume it, or give it up: `npm run banyan -- restore ID --abandon`.',
    'Try again in a few minutes.',
  ],
  SHARD_UNAVAILABLE: [
    503,
    'A database does not answer',
    'See which one (`npm run banyan -- shards list`), and find shard.error in the logs (`npx wrangler tail --format json`).',
    'Try again in a few seconds.',
  ],
  SHARD_UNKNOWN: [
    503,
    'This version has no binding for a shard',
    'Run `npm run deploy` with the newest wrangler.toml.',
    'Try again in a few minutes.',
  ],
  SLOT_FENCED: [
    503,
    'The data is being moved',
    'The cutover of a move ends within seconds. If it does not, look at the move: `npm run banyan -- moves list`.',
    'Try again in a few seconds.',
  ],
  SLOT_NOT_OWNED: [
    503,
    'The data has moved',
    'Check that the directory answers, because this isolate has no newer map: `curl -s https://<address>/readyz`.',
    'Try again in a few seconds.',
  ],
  STORE_UNAVAILABLE: [
    503,
    'The store of pictures does not answer',
    'Look at the line of r2: `curl -s https://<address>/readyz`. Jobs are tried again by themselves.',
    'Try again in a few seconds.',
  ],
} as const satisfies Record<string, readonly [status: number, title: string, fix: string, callerFix?: string]>

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
  /** How to fix it, if the message is D1's text. */
  hint?: string
}

/**
 * An expected outcome that ends the call. `detail` says what happened and how to fix it; without one, the message is the
 * code's title and fix.
 */
export class BanyanError extends Error {
  readonly code: ErrorCode
  readonly hasOwnDetail: boolean
  readonly errors: FieldError[] | undefined
  readonly retryAfterSeconds: number | undefined
  readonly hint: string | undefined

  constructor(code: ErrorCode, detail?: string, options: ErrorOptions = {}) {
    const [, title, fix] = catalogue[code]
    super(detail ?? `${title}. ${fix}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'BanyanError'
    this.code = code
    this.hasOwnDetail = detail !== undefined
    this.errors = options.errors
    this.retryAfterSeconds = options.retryAfterSeconds
    this.hint = options.hint
  }

  /** The message and the hint, for an operator or a builder. */
  get advice(): string {
    return this.hint === undefined ? this.message : `${this.message}. ${this.hint}`
  }

  /** The title and what a caller can do, with nothing internal. */
  get publicAdvice(): string {
    const [, title, fix, callerFix = fix]: readonly [number, string, string, string?] = catalogue[this.code]
    return `${title}. ${callerFix}`
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

/** The text of anything thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

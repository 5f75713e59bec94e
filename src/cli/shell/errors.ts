/** An error that the user can fix: what happened and why, and the fix. Any other error is a bug and shows its stack. */
export class UserError extends Error {
  readonly fix: string
  /** The API's code, if the API refused the request. */
  readonly code: string | null

  constructor(message: string, fix: string, code: string | null = null) {
    super(message)
    this.name = 'UserError'
    this.fix = fix
    this.code = code
  }
}

/** The server is unavailable, or asks to retry later. Callers that only wait may retry. */
export class NotNow extends UserError {
  /** The server's Retry-After, at most 30 s. */
  readonly retryAfterMs: number

  constructor(message: string, fix: string, code: string | null = null, retryAfterMs = 0) {
    super(message, fix, code)
    this.retryAfterMs = retryAfterMs
  }
}

/** The answer is lost, so the operation may have happened. */
export class AnswerLost extends NotNow {}

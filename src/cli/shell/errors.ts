/** Something its user can mend: what happened, and how. Anything else that is thrown is a bug and shows its stack. */
export class UserError extends Error {
  readonly fix: string
  /** The API's code, where it was the API that refused. */
  readonly code: string | null

  constructor(message: string, fix: string, code: string | null = null) {
    super(message)
    this.name = 'UserError'
    this.fix = fix
    this.code = code
  }
}

/** The server isn't there, or asks to come back later: who only waits may try again. */
export class NotNow extends UserError {
  /** How long it asks to be left alone; 30 s where it asks for more. */
  readonly retryAfterMs: number

  constructor(message: string, fix: string, code: string | null = null, retryAfterMs = 0) {
    super(message, fix, code)
    this.retryAfterMs = retryAfterMs
  }
}

/** The answer is lost: what was asked for may have been done. */
export class AnswerLost extends NotNow {}

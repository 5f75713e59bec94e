import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { Env } from '../../workers/env.ts'
import worker from '../../workers/main.ts'

export interface SentMail {
  to: string
  text: string
  headers: Record<string, string>
}

export interface WorkerAnswer {
  status: number
  headers: Headers
  text: string
  json<T = Record<string, unknown>>(): T
}

export interface WorkerRequest {
  /** A `Uint8Array` is sent unchanged. */
  json?: unknown
  /** A body to send unchanged. */
  body?: string | Uint8Array
  token?: string
  /** The Idempotency-Key. */
  key?: string
  headers?: Record<string, string>
  /** The requested site; localhost by default. */
  origin?: string
}

/**
 * The whole Worker in its own isolate, without any state of other isolates. Mails are kept. `exportsOf` replaces the
 * Worker's own entrypoints (`context.exports`).
 */
export function workerIsolate(overrides: Partial<Env> = {}, exportsOf?: (env: Env) => object) {
  const mails: SentMail[] = []
  const MAIL = { send: async (mail: SentMail) => void mails.push(mail) } as unknown as SendEmail
  const own: Env = { ...(env as unknown as Env), MAIL, ...overrides }

  const ownExports = exportsOf?.(own)

  const contextOf = () => {
    const context = createExecutionContext()
    return ownExports ? Object.assign(context, { exports: ownExports }) : context
  }

  async function request(method: string, path: string, options: WorkerRequest = {}): Promise<WorkerAnswer> {
    const { json, body, token, key, headers, origin = 'http://localhost' } = options
    const context = contextOf()
    const sent = new Request<unknown, IncomingRequestCfProperties>(`${origin}${path}`, {
      method,
      redirect: 'manual',
      headers: {
        ...(json === undefined || json instanceof Uint8Array ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...headers,
      },
      ...(json === undefined && body === undefined
        ? {}
        : { body: body ?? (json instanceof Uint8Array ? json : JSON.stringify(json)) }),
    })
    const response = await worker.fetch(sent, own, context)
    const text = await response.text()
    await waitOnExecutionContext(context)
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) }
  }

  async function cron(scheduledTime = Date.now()): Promise<void> {
    const context = contextOf()
    await worker.scheduled({ scheduledTime, cron: '* * * * *', noRetry: () => undefined }, own, context)
    await waitOnExecutionContext(context)
  }

  return { env: own, mails, request, cron }
}

let people = 0

/** Sign-up fields that are not taken yet. */
export function somebody() {
  people++
  return { email: `somebody.${people}@example.com`, handle: `somebody_${people}`, password: 'a pass phrase of mine' }
}

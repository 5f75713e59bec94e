import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError, hasCode } from '../core/errors.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import { checkedRetryKey, invalid } from './api.ts'
import type { WebEnv } from './context.ts'
import type { FieldErrors } from './fields.tsx'

/** Parses a form's values by its schema. Throws INVALID, as the API does for the same fields. */
export function parseForm<T extends z.ZodType>(schema: T, values: Record<string, string>): z.output<T> {
  const result = schema.safeParse(values)
  if (!result.success) throw invalid(result.error.issues)
  return result.data
}

/** The error's messages by field name. '' is the form as a whole. */
function fieldErrors(error: BanyanError): FieldErrors {
  const fields = (error.errors ?? []).map(({ pointer, detail }) => [pointer.slice(1), detail])
  return fields.length > 0 ? Object.fromEntries(fields) : { '': error.message }
}

export type FormStatus = 401 | 409 | 413 | 415 | 422 | 429

/** Runs a form's action. Returns errors that the user can fix, to show beside the form, and throws all others. */
export async function submit(run: () => Promise<unknown>): Promise<{ errors: FieldErrors; status: FormStatus } | null> {
  try {
    await run()
    return null
  } catch (error) {
    if (
      error instanceof BanyanError &&
      isFormStatus(error.status) &&
      error.code !== 'SESSION_ENDED' &&
      error.code !== 'NOT_SIGNED_IN'
    )
      return { errors: fieldErrors(error), status: error.status }
    throw error
  }
}

/**
 * Runs a form's action once per key, so that a form that is sent twice has one effect. If the contents differ, because
 * the user went back and changed them, it is a new request.
 */
export async function onceOrAnew<T>(
  c: Context<WebEnv>,
  key: string | undefined,
  run: (retry: RetryKey | null) => Promise<T>,
): Promise<T> {
  try {
    return await run(key ? checkedRetryKey(c, key) : null)
  } catch (error) {
    if (!hasCode(error, 'IDEMPOTENCY_KEY_REUSED')) throw error
    return run(null)
  }
}

const isFormStatus = (status: number): status is FormStatus => [401, 409, 413, 415, 422, 429].includes(status)

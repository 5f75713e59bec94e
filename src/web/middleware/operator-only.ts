import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { constantTimeEqual, sha256Hex } from '../../core/digest.ts'
import { BanyanError } from '../../core/errors.ts'
import type { WebEnv } from '../context.ts'
import { markPersonal } from './cache-control.ts'

/** `security` of the operators' routes in the OpenAPI document. */
export const operatorsOnly = [{ operator: [] }] as { [name: string]: string[] }[]

/** True for a request that carries the operators' token. */
export function isOperator(c: Context<WebEnv>): boolean {
  const { operatorToken } = c.get('tiers').settings
  const given = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1] ?? ''
  return operatorToken !== null && constantTimeEqual(sha256Hex(given), sha256Hex(operatorToken))
}

/** Guards the operators' API. If no token is configured, it answers 404. */
export const operatorOnly = () =>
  createMiddleware<WebEnv>(async function operatorOnly(c, next) {
    markPersonal(c)
    if (!c.get('tiers').settings.operatorToken)
      throw new BanyanError('NOT_FOUND', 'There is nothing at this path. Check the address.')
    if (!isOperator(c)) throw new BanyanError('OPERATOR_TOKEN_REQUIRED')
    await next()
  })

import type { Context } from 'hono'
import { limits } from '../../core/limits.ts'
import type { WebEnv } from '../../web/context.ts'

/** The part of a list that an HTML page shows. */
export const pageOf = (c: Context<WebEnv>) => ({ limit: limits.pageItemsDefault, cursor: c.req.query('cursor') })

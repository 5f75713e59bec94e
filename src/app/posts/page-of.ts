import type { Context } from 'hono'
import { limits } from '../../core/limits.ts'
import type { WebEnv } from '../../web/context.ts'

/** Which page of a list a page for people shows. */
export const pageOf = (c: Context<WebEnv>) => ({ limit: limits.pageItemsDefault, cursor: c.req.query('cursor') })

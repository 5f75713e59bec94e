import type { Backfill, BackfillList } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'

const BACKFILLS = '/operator/v1/backfills'
export const backfillAt = (name: string): string => `${BACKFILLS}/${encodeURIComponent(name)}`

export const listBackfills = (connection: Pick<Connection, 'get'>): Promise<BackfillList> => connection.get(BACKFILLS)

/** Throws UserError if there is none. */
export async function readBackfill(connection: Pick<Connection, 'get'>, name: string): Promise<Backfill> {
  const { items } = await listBackfills(connection)
  const found = items.find((item) => item.name === name)
  if (found) return found
  throw new UserError(
    `There is no backfill "${name}".`,
    `This version has: ${items.map((item) => item.name).join(', ') || 'none'}. A noun registers a backfill.`,
  )
}

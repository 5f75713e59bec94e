/** Rows or claims per page. A lookup of their keys has a parameter of 700 kB; the limit is 2 MB. */
const PAGE_ROWS = 5_000
/** The pause before a read, because the API allows 1,200 calls in five minutes to all users of the account. */
export const PAUSE_MS = 300

/** States of slots whose rows are current. Rows of slots that have moved stay for a while, but are not current. */
export const HERE_STATES = "'active', 'moving', 'fenced'"

/** SQL that is true for rows whose slot the database has. */
export const here = (column: string, keyspace: string): string =>
  `substr(${column}, 1, 4) IN (SELECT slot FROM slots WHERE keyspace = '${keyspace}' AND state IN (${HERE_STATES}))`

/** Reads rows of a database. */
export type Read = <T>(databaseId: string, sql: string, params: (string | number)[]) => Promise<T[]>

/** Rows that `select` finds, each with its key as `id`. */
export interface RowsHere {
  select: string
  key: string
  keyspace: string
  where?: string
}

/** Yields pages of the rows whose slots the database has, ordered by key. */
export async function* pagesHere<Row extends { id: string }>(
  read: Read,
  databaseId: string,
  { select, key, keyspace, where }: RowsHere,
): AsyncGenerator<Row[]> {
  const conditions = [`${key} > ?`, ...(where ? [where] : []), here(key, keyspace)].join(' AND ')
  const sql = `${select} WHERE ${conditions} ORDER BY ${key} LIMIT ?`
  for (let after = ''; ; ) {
    const page = await read<Row>(databaseId, sql, [after, PAGE_ROWS])
    yield page
    const last = page.at(-1)
    if (!last || page.length < PAGE_ROWS) return
    after = last.id
  }
}

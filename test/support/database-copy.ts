/** The content of a D1 database, as statements that make an empty database equal to it. No Node imports. */

interface CopyStatement {
  sql: string
  params?: (string | number | null)[]
}

interface SchemaObject {
  type: 'table' | 'index' | 'view' | 'trigger'
  name: string
  sql: string
}

const ROWS_AT_ONCE = 1_000

export async function schemaOf(database: D1Database): Promise<SchemaObject[]> {
  const { results } = await database
    .prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'")
    .all<SchemaObject>()
  return results.filter(({ name }) => !name.startsWith('_cf_'))
}

/** Batches that create tables first, then rows, and only then objects that would run for each row. */
export async function contentOf(database: D1Database): Promise<CopyStatement[][]> {
  const schema = await schemaOf(database)
  const of = (type: SchemaObject['type']) => schema.filter((object) => object.type === type).map(({ sql }) => ({ sql }))
  const rows: CopyStatement[][] = []
  for (const { name } of schema.filter(({ type }) => type === 'table')) {
    const [columns, ...all] = await database.prepare(`SELECT * FROM "${name}"`).raw({ columnNames: true })
    const values = columns.map((_, index) => `json_extract(value, '$[${index}]')`)
    const sql = `INSERT INTO "${name}" ("${columns.join('", "')}") SELECT ${values.join(', ')} FROM json_each(?)`
    for (let start = 0; start < all.length; start += ROWS_AT_ONCE)
      rows.push([{ sql, params: [JSON.stringify(all.slice(start, start + ROWS_AT_ONCE))] }])
  }
  return [of('table'), ...rows, [...of('index'), ...of('view'), ...of('trigger')]]
}

const STATEMENTS_AT_ONCE = 20

/** Makes empty databases equal to another. Blobs are not supported. */
export async function copyDatabase(from: D1Database, copies: readonly D1Database[]): Promise<void> {
  const statements = (await contentOf(from)).flat()
  for (let start = 0; start < statements.length; start += STATEMENTS_AT_ONCE) {
    const some = statements.slice(start, start + STATEMENTS_AT_ONCE)
    await Promise.all(
      copies.map((copy) => copy.batch(some.map(({ sql, params = [] }) => copy.prepare(sql).bind(...params)))),
    )
  }
}

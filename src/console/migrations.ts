import type { OpenAPIHono } from '@hono/zod-openapi'
import { createRoute } from '@hono/zod-openapi'
import { present } from '../core/present.ts'
import { ShardMap } from '../sharding/shard-map.ts'
import { json, problems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorContext, OperatorsOf } from './context.ts'
import { type Migrations, migrationsShape } from './shapes.ts'
import { notAnswering } from './shards.ts'

export function migrationRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/migrations',
      security: operatorsOnly,
      responses: { 200: json(migrationsShape, 'Applied and pending migrations of each shard'), ...problems(401, 404) },
    }),
    async (c) => c.json(await listMigrations(operators(c)), 200),
  )
}

/** Throws SHARD_UNAVAILABLE with the name of every shard that does not answer. */
async function listMigrations({
  shards,
  directory,
  migrations,
}: Pick<OperatorContext, 'shards' | 'directory' | 'migrations'>): Promise<Migrations> {
  const { map } = await directory.map()
  const { values, failed } = await shards.by(new ShardMap(map)).each('users', async ({ id, run }) => {
    const { results } = await run<{ name: string }>('SELECT name FROM d1_migrations ORDER BY id')
    const applied = results.map(({ name }) => name)
    const pending = migrations.filter((name) => !applied.includes(name))
    return { shard: id, version: applied.at(-1) ?? null, pending }
  })
  if (failed.length > 0) throw notAnswering(failed)
  const newest = present(migrations.at(-1), 'a migration')
  return { newest, items: values.toSorted((a, b) => (a.shard < b.shard ? -1 : 1)) }
}

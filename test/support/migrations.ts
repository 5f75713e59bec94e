/// <reference types="vite/types/importMeta.d.ts" />
import { applyD1Migrations, type D1Migration } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { boundShards } from '../../src/sharding/bound-shards.ts'
import type { Env } from '../../workers/env.ts'

const files = import.meta.glob<string>('../../migrations/shard/*.sql', {
  query: '?raw',
  import: 'default',
  eager: true,
})

const migrations: D1Migration[] = Object.entries(files)
  .sort(([a], [b]) => a.localeCompare(b))
  .map(([file, text]) => ({ name: file.split('/').at(-1)!, queries: text.split('--> statement-breakpoint') }))

/** Migrates every bound shard, like `npm run banyan -- migrations apply`. */
export async function migrateAll(): Promise<void> {
  for (const database of boundShards(env as unknown as Env).values()) await applyD1Migrations(database, migrations)
}

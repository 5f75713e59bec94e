import { reset } from 'cloudflare:test'
import { beforeAll } from 'vitest'
import { migrateAll } from './migrations.ts'

// Test files share a runtime, so each one starts with empty stores and migrated shards.
beforeAll(async () => {
  await reset()
  await migrateAll()
})

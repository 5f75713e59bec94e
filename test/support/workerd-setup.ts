import { beforeAll } from 'vitest'
import { migrateAll } from './migrations.ts'

// Every test file starts with migrated, empty shards; each file has its own storage.
beforeAll(migrateAll)

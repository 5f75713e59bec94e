import { beforeAll } from 'vitest'
import { migrateAll } from './migrations.ts'

// Every test file starts with migrated, empty shards; storage is the file's own.
beforeAll(migrateAll)

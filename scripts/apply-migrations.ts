/** `npm run migrations:apply [-- --shards N] [--persist-to DIR]`: migrates every bound local shard. */
import './local-environment.ts'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { configFor, migrateLocalShards } from './local-shards.ts'

const { values } = parseArgs({ options: { shards: { type: 'string' }, 'persist-to': { type: 'string' } } })
const config = configFor(values.shards ? Number(values.shards) : null)
const persistTo = values['persist-to'] ? path.resolve(values['persist-to']) : config.persistTo
const applied = await migrateLocalShards(config.configPath, persistTo)
console.log(applied === 0 ? 'Every shard is migrated.' : `Applied ${applied} migrations to ${config.shards} shards.`)

import { defineCommand } from '../shell/command.ts'
import { importOptions } from './options.ts'

export const command = defineCommand({
  name: 'import',
  summary: 'imports users from another application',
  details: 'If stopped or killed, run the command again to resume. Users that are there already stay as they are.',
  operands: [
    {
      name: 'FILE',
      help: 'a .sql dump (wrangler d1 export, sqlite3 .dump), or a .csv or .tsv with a header; also in gzip and UTF-16',
    },
  ],
  options: importOptions,
  examples: ['import users.sql --map handle=username,displayName=name', 'import users.csv --source old-shop --dry-run'],
  // Loaded when it is asked for: SQLite and zod would slow all other commands down.
  run: async (...given) => (await import('./run.ts')).importFile(...given),
})

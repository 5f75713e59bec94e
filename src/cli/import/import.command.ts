import type { Command } from '../shell/command.ts'

export const importCommands: Record<string, Command> = {
  import: {
    operands: ['FILE'],
    options: ['table', 'map', 'source', 'dry-run', 'verify'],
    // Loaded when it is asked for: SQLite and zod would slow all other commands down.
    run: async (...given) => (await import('./run.ts')).importFile(...given),
  },
}

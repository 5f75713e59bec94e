import type { Command } from './command.ts'

export const importCommands: Record<string, Command> = {
  import: {
    operands: ['FILE'],
    options: ['table', 'map', 'source', 'dry-run', 'verify', 'encoding', 'delimiter', 'escape', 'null', 'fill'],
    // Loaded when it is asked for: SQLite and zod would slow all other commands down.
    run: async (...given) => (await import('./import/run.ts')).importFile(...given),
  },
}

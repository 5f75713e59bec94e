import { createInterface } from 'node:readline/promises'
import { UserError } from './errors.ts'

export interface Terminal {
  input: NodeJS.ReadableStream & { isTTY?: boolean }
  output: NodeJS.WritableStream
}

const ownTerminal = (): Terminal => ({ input: process.stdin, output: process.stderr })

/** Asks for a yes on standard error. Throws UserError without one, or if nobody can answer. */
export async function confirm(question: string, { input, output }: Terminal = ownTerminal()): Promise<void> {
  if (!input.isTTY) throw new UserError('Nobody can confirm this here.', 'Pass --yes to do it without a question.')
  const lines = createInterface({ input, output })
  try {
    const answer = await lines.question(`${question} Type yes to continue: `)
    if (answer.trim().toLowerCase() !== 'yes')
      throw new UserError('Nothing was changed.', 'Run the command again and type yes, or pass --yes.')
  } finally {
    lines.close()
  }
}

import { spawn } from 'node:child_process'
import { root } from '../../src/cli/local-shards.ts'
import { OPERATOR_TOKEN } from './stack.ts'

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the operators' command in a process of its own, without a terminal. `onError` sees what it says on the way. */
export function runBanyan(
  url: URL,
  args: string[],
  onError: (said: string, kill: () => void) => void = () => undefined,
): Promise<Ran> {
  const command = ['src/cli/main.ts', ...args, '--url', url.origin, '--token', OPERATOR_TOKEN]
  const child = spawn(process.execPath, command, { cwd: root })
  const ran: Ran = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (text) => {
    ran.stdout += text
  })
  child.stderr.on('data', (text) => {
    ran.stderr += text
    onError(ran.stderr, () => child.kill('SIGKILL'))
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...ran, code }))
  })
}

/** The operators' command in its own process, without a terminal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'
import { OPERATOR_TOKEN } from './stack.ts'

export interface Ran {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Running {
  child: ChildProcess
  ended: Promise<Ran>
  /** Waits until its error output matches. Throws if it exits first. */
  says(what: RegExp): Promise<void>
}

const POLL_MS = 50
const running = new Set<ChildProcess>()

// Ends processes that a failed test left running.
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})

export function startBanyan(url: URL, ...args: string[]): Running {
  const command = ['src/cli/main.ts', ...args, '--url', url.origin, '--token', OPERATOR_TOKEN]
  const child = spawn(process.execPath, command, { cwd: root })
  running.add(child)
  const ran = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      ran[name] += text
    })
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      running.delete(child)
      resolve({ ...ran, code, signal })
    })
  })
  const says = async (what: RegExp) => {
    for (; !what.test(ran.stderr); await new Promise((resolve) => setTimeout(resolve, POLL_MS)))
      if (child.exitCode !== null) throw new Error(`it exited before its error output matched ${what}: ${ran.stderr}`)
  }
  return { child, ended, says }
}

export const banyan = (url: URL, ...args: string[]): Promise<Ran> => startBanyan(url, ...args).ended

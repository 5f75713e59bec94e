/** The operators' command in a process of its own, without a terminal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { root } from '../../src/cli/local-shards.ts'
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
}

export function startBanyan(url: URL, ...args: string[]): Running {
  const command = ['src/cli/main.ts', ...args, '--url', url.origin, '--token', OPERATOR_TOKEN]
  const child = spawn(process.execPath, command, { cwd: root })
  const ran = { stdout: '', stderr: '' }
  child.stdout.on('data', (text) => {
    ran.stdout += text
  })
  child.stderr.on('data', (text) => {
    ran.stderr += text
  })
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ ...ran, code, signal }))
  })
  return { child, ended }
}

export const banyan = (url: URL, ...args: string[]): Promise<Ran> => startBanyan(url, ...args).ended

/** The deployed script: its versions, deployments, secrets and triggers. */
import type { Platform } from './api.ts'

interface Binding {
  type: string
  name: string
  /** A database's id. */
  id?: string
  text?: string
}

export interface Version {
  id: string
  annotations?: Record<string, string>
  metadata?: { created_on?: string }
  resources: { bindings: Binding[] }
}

export interface WorkerDeployment {
  id: string
  created_on: string
  annotations?: Record<string, string>
  versions: { version_id: string; percentage: number }[]
}

const script = (name: string): string => `/workers/scripts/${encodeURIComponent(name)}`

/** Newest first; empty if there is no script. */
export async function listDeployments(platform: Platform, name: string): Promise<WorkerDeployment[]> {
  const found = await platform.find<{ deployments: WorkerDeployment[] }>({
    method: 'GET',
    path: `${script(name)}/deployments`,
  })
  return found?.deployments ?? []
}

export const findVersion = (platform: Platform, name: string, versionId: string): Promise<Version | null> =>
  platform.find<Version>({ method: 'GET', path: `${script(name)}/versions/${encodeURIComponent(versionId)}` })

/** Sends all traffic to one version. Idempotent. */
export async function deployVersion(
  platform: Platform,
  name: string,
  versionId: string,
  message: string,
): Promise<void> {
  const body = {
    strategy: 'percentage',
    versions: [{ version_id: versionId, percentage: 100 }],
    annotations: { 'workers/message': message },
  }
  await platform.call({ method: 'POST', path: `${script(name)}/deployments`, body })
}

/** Names of the script's secrets; empty if there is no script. */
export async function secretNames(platform: Platform, name: string): Promise<string[]> {
  const found = await platform.find<{ name: string }[]>({ method: 'GET', path: `${script(name)}/secrets` })
  return (found ?? []).map((secret) => secret.name)
}

/** The cron expressions that call the script. */
export async function listSchedules(platform: Platform, name: string): Promise<string[]> {
  const path = `${script(name)}/schedules`
  const found = await platform.find<{ schedules: { cron: string }[] }>({ method: 'GET', path })
  return (found?.schedules ?? []).map(({ cron }) => cron)
}

/** True if the script answers at its address on workers.dev. */
export async function isOnWorkersDev(platform: Platform, name: string): Promise<boolean> {
  const found = await platform.find<{ enabled: boolean }>({ method: 'GET', path: `${script(name)}/subdomain` })
  return found?.enabled ?? false
}

/** The account's subdomain of workers.dev; null if none is registered. */
export async function accountSubdomain(platform: Platform): Promise<string | null> {
  const found = await platform.find<{ subdomain: string }>({ method: 'GET', path: '/workers/subdomain' })
  return found?.subdomain || null
}

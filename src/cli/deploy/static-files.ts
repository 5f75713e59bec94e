import { execFile } from 'node:child_process'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { UserError } from '../shell/errors.ts'
import { root } from '../shell/root.ts'

/** A built file, and the key under which the store has it: the Worker puts and finds it by the same. */
export interface StaticFile {
  path: string
  key: string
  contentType: string
}

/** Builds the static files. Throws UserError with the builder's own words where a source doesn't compile. */
export async function buildStaticFiles(): Promise<StaticFile[]> {
  try {
    await promisify(execFile)(process.execPath, [path.join(root, 'scripts/build-assets.ts')], { cwd: root })
  } catch (error) {
    throw new UserError(String((error as { stderr?: string }).stderr ?? error).trim(), 'Mend the source it names.')
  }
  // Read anew each time: the file's name stays when its content changes.
  const module = `${pathToFileURL(path.join(root, 'dist/asset-manifest.ts')).href}?${performance.now()}`
  const { manifest } = (await import(module)) as { manifest: Record<string, { path: string; type: string }> }
  return Object.values(manifest).map((asset) => ({
    path: path.join(root, 'dist/assets', asset.path),
    key: asset.path.replace('/assets/', 'static/'),
    contentType: asset.type,
  }))
}

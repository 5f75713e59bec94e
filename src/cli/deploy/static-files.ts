import { execFile } from 'node:child_process'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { UserError } from '../shell/errors.ts'
import { root } from '../shell/root.ts'

/** A built file, and its key in the store. The Worker uses the same key. */
export interface StaticFile {
  path: string
  key: string
  contentType: string
}

/** Builds the static files. Throws UserError with the builder's message if a source does not compile. */
export async function buildStaticFiles(): Promise<StaticFile[]> {
  try {
    await promisify(execFile)(process.execPath, [path.join(root, 'scripts/build-assets.ts')], { cwd: root })
  } catch (error) {
    throw new UserError(
      String((error as { stderr?: string }).stderr ?? error).trim(),
      'Fix the source that the message names, and run the command again.',
    )
  }
  // The query prevents a cached module, because the file keeps its name when its content changes.
  const module = `${pathToFileURL(path.join(root, 'dist/asset-manifest.ts')).href}?${performance.now()}`
  const { manifest } = (await import(module)) as { manifest: Record<string, { path: string; type: string }> }
  return Object.values(manifest).map((asset) => ({
    path: path.join(root, 'dist/assets', asset.path),
    key: asset.path.replace('/assets/', 'static/'),
    contentType: asset.type,
  }))
}

import { createPost, deletePost, editPost, findPost } from '../../../src/app/posts/posts.ts'
import type { ClientRows } from '../client-rows.ts'

/** Found by its name: test/simulation/client-rows.ts. */
export const rows: ClientRows = { create: createPost, edit: editPost, remove: deletePost, find: findPost }

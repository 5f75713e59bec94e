/** A file of a form. */
export interface UploadedFile {
  /** The name of the form's field. */
  field: string
  bytes: Uint8Array
}

interface Multipart {
  fields: [name: string, value: Uint8Array][]
  files: UploadedFile[]
}

const PARTS_MAX = 32
const HEADER_BYTES_MAX = 1_024

/**
 * The parts of a multipart/form-data body (RFC 7578), or null if it is malformed. The bytes are not copied, because an
 * isolate has 128 MB and `formData()` would hold a form with pictures twice. It would also replace bytes that are not
 * UTF-8. A file input without a file is left out.
 */
export function parseMultipart(body: ArrayBuffer, contentType: string): Multipart | null {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? []
  const boundary = quoted ?? plain
  if (boundary === undefined) return null
  const whole = Buffer.from(body)
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const parts: Multipart = { fields: [], files: [] }
  // The first delimiter has no line break before it.
  if (whole.indexOf(delimiter.subarray(2)) !== 0) return null
  let at = delimiter.length - 2
  for (let count = 0; count <= PARTS_MAX; count++) {
    const after = whole.toString('latin1', at, at + 2)
    if (after === '--') return parts
    if (after !== '\r\n') return null
    const end = whole.indexOf(delimiter, at)
    const headerEnd = whole.indexOf('\r\n\r\n', at)
    if (end < 0 || headerEnd < 0 || headerEnd > end || headerEnd - at > HEADER_BYTES_MAX) return null
    const header = whole.toString('utf8', at, headerEnd)
    const bytes = whole.subarray(headerEnd + 4, end)
    const [, name] = /\r\ncontent-disposition:[^\r\n]*;\s*name="([^"\r\n]*)"/i.exec(header) ?? []
    if (name === undefined) return null
    const [, fileName] = /;\s*filename="([^\r\n]*)"/i.exec(header) ?? []
    if (fileName === undefined) parts.fields.push([name, bytes])
    else if (fileName !== '' || bytes.length > 0) parts.files.push({ field: name, bytes })
    at = end + delimiter.length
  }
  return null
}

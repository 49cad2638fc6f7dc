// tus-js-client under Node: uploads a file in the way that argv[3] names, and says which requests that took.
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { PassThrough } from "node:stream";

import * as tus from "tus-js-client";

const { endpoint, token, file, metadata, storage } = JSON.parse(process.argv[2]);
const MIB = 1024 * 1024;
const requests = [];
const common = {
  endpoint,
  metadata,
  headers: { Authorization: `Bearer ${token}` },
  retryDelays: [0, 1000, 2000],
  chunkSize: 2 * MIB,
  urlStorage: new tus.FileUrlStorage(storage),
  onAfterResponse: note,
};
const ways = {
  parallel: () => finish({ parallelUploads: 3, chunkSize: 8 * MIB }),
  "with-creation": () => finish({ uploadDataDuringCreation: true }),
  override: () => finish({ overridePatchMethod: true }),
  "deferred-length": () => finish({ uploadLengthDeferred: true }, () => {}, aStream()),
  resume: async () => {
    await stopAfter(4 * MIB);
    await finish({}, async (upload) => upload.resumeFromPreviousUpload((await upload.findPreviousUploads())[0]));
  },
  terminate: async () => {
    const upload = await stopAfter(4 * MIB);
    await upload.abort(true);
  },
};

const content = await readFile(file);
await ways[process.argv[3]]();
process.stdout.write(JSON.stringify({ requests }));

// Of a file's own stream the client knows the length, and then takes the last piece for longer than it is.
function aStream() {
  return createReadStream(file).pipe(new PassThrough());
}

function note(request, response) {
  const header = (name) => request.getHeader(name);
  requests.push({
    method: request.getMethod(),
    url: request.getURL(),
    concat: header("Upload-Concat"),
    override: header("X-HTTP-Method-Override"),
    type: header("Content-Type"),
    deferred: header("Upload-Defer-Length"),
    length: header("Upload-Length"),
    status: response.getStatus(),
    offset: response.getHeader("Upload-Offset"),
  });
}

async function finish(options, before = () => {}, input = content) {
  let upload;
  const done = new Promise((onSuccess, onError) => {
    upload = new tus.Upload(input, { ...common, ...options, onSuccess, onError });
  });
  await before(upload);
  upload.start();
  await done;
}

function stopAfter(size) {
  return new Promise((resolve, onError) => {
    const upload = new tus.Upload(content, {
      ...common,
      onError,
      onChunkComplete: async (_, accepted) => {
        if (accepted === size) {
          await upload.abort();
          resolve(upload);
        }
      },
    });
    upload.start();
  });
}

// What a page does with Uppy: it uploads one file, straight to storage or by tus, and gives what Uppy says of it.
import Uppy from "@uppy/core";
import AwsS3 from "@uppy/aws-s3";
import Tus from "@uppy/tus";

const headers = {};

const ways = {
  s3: (uppy, { api, token }) => {
    // Uppy sends its companion no Authorization.
    const plain = window.fetch;
    window.fetch = (url, options = {}) =>
      plain(url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });
    uppy.use(AwsS3, { companionEndpoint: `${api}/api/v1/uploads`, shouldUseMultipart: true });
  },
  tus: (uppy, { api, token }) =>
    uppy.use(Tus, {
      endpoint: `${api}/api/v1/uploads/tus/`,
      headers: { Authorization: `Bearer ${token}` },
      chunkSize: 5 * 1024 * 1024,
      onAfterResponse: (_, response) => {
        for (const name of ["CourseHub-Video-Id", "CourseHub-Operation-Id", "Operation-Location"]) {
          headers[name] ??= response.getHeader(name);
        }
      },
    }),
};

window.uploadWith = async (told) => {
  const uppy = new Uppy({ autoProceed: false });
  const progress = [];
  ways[told.way](uppy, told);
  uppy.on("upload-progress", (_, { bytesUploaded }) => progress.push(bytesUploaded));
  const data = await (await fetch("/film.mp4")).blob();
  uppy.addFile({ name: told.name, type: "video/mp4", data, meta: told.meta });
  const { successful, failed } = await uppy.upload();
  return {
    progress,
    headers,
    failed: failed.map(({ error }) => error),
    successful: successful.map(({ uploadURL, response }) => ({ uploadURL, body: response.body })),
  };
};

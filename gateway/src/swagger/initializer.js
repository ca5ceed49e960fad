// A file of its own: the pages' policy allows no script inside them.
'use strict';

const place = document.getElementById('swagger-ui');
const documents = JSON.parse(place.dataset.documents);

window.ui = SwaggerUIBundle({
  domNode: place,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  // One document needs no selector, which is all that the bar on top has.
  ...(documents.length > 1
    ? { urls: documents, layout: 'StandaloneLayout', docExpansion: 'none' }
    : { url: documents[0].url, layout: 'BaseLayout', docExpansion: 'list' }),
  deepLinking: true,
  filter: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  // Credentials end with the page: no secret lies in the browser's storage.
  persistAuthorization: false,
  // Nothing is sent to anybody else.
  validatorUrl: null,
});

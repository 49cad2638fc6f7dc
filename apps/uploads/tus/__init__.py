"""
tus 1.0 (https://tus.io/protocols/resumable-upload): resumable uploads through the API.

``headers``  what its headers say
``views``    its requests
"""
